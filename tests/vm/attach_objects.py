# SPDX-License-Identifier: MIT
"""What the attach tests share: a filter file, its object, and a count of what is in the kernel."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import TextIO

from fusebpf.build import findings  # noqa: F401 (no process of the CLI imports it again)
from fusebpf.build.clang import compile_c, find_clang
from fusebpf.build.metadata import HookMeta, Metadata, c_trailer
from fusebpf.cli import run
from fusebpf.runtime import mountinfo, sysbpf
from tests.vm.limits import SLOWNESS, eventually

FORK = multiprocessing.get_context("fork")

GUARD = """from fusebpf import CONTINUE, Context, FilterSet, Name, OpenIn
from fusebpf.constants import ENOENT, EROFS, O_ACCMODE, O_RDONLY
from fusebpf.types import u32, u64

filters = FilterSet("guard")
hits = filters.percpu_array("hits", value=u64, max_entries=2)
trusted = filters.hash("trusted", key=u32, value=u64, max_entries=1024)

@filters.lookup.pre
def hide_keys(ctx: Context, name: Name):
    if name.endswith(".pem") or name in {".env", "id_rsa"}:
        hits[0] += 1
        return -ENOENT
    return CONTINUE

@filters.open.pre
def read_only(ctx: Context, req: OpenIn):
    if req.flags & O_ACCMODE != O_RDONLY and ctx.uid not in trusted:
        return -EROFS
"""


def fusebpf(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the CLI to its end, as a process of its own."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = started(arguments, out.fileno(), err.fileno())
        process.join(120 * SLOWNESS)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"fusebpf {arguments} does not end")
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(arguments, process.exitcode, out.read(), err.read())


@contextmanager
def running(*arguments: str | Path) -> Iterator[tuple[ForkProcess, TextIO]]:
    """The CLI while it runs, with all that it prints; it ends well."""
    ours, theirs = os.pipe()
    process = started(arguments, theirs, theirs)
    os.close(theirs)
    try:
        with os.fdopen(ours) as out:
            yield process, out
        process.join(30 * SLOWNESS)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
        process.close()


def started(
    arguments: tuple[str | Path, ...],
    out: int,
    err: int,
    before: Callable[[], object] = lambda: None,
) -> ForkProcess:
    """Start the CLI with these descriptors as its output; it calls `before` first.

    It is forked from this process: in an emulated guest Python takes seconds to start and to
    import the compiler. What a newcomer types (tests/e2e) starts it as users do.
    """
    process = FORK.Process(target=_run, args=([*map(str, arguments)], out, err, before))
    process.start()
    return process


def _run(arguments: list[str], out: int, err: int, before: Callable[[], object]) -> None:
    """A command line in the child; pytest has put its own files in the place of the streams."""
    before()
    for name, number, fd in (("stdout", 1, out), ("stderr", 2, err)):
        os.dup2(fd, number)
        setattr(sys, name, os.fdopen(number, "w", closefd=False))
    sys.exit(run(arguments))


def in_kernel() -> dict[str, set[int]]:
    """Ids of all links, programs and maps."""
    return {
        "links": set(sysbpf.ids(sysbpf.LINK_GET_NEXT_ID)),
        "programs": set(sysbpf.ids(sysbpf.PROG_GET_NEXT_ID)),
        "maps": set(sysbpf.ids(sysbpf.MAP_GET_NEXT_ID)),
    }


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check that the block leaves no mount, link, program, map or descriptor behind."""
    mounts = [entry.mount_id for entry in mountinfo.entries()]
    before, fds = in_kernel(), len(os.listdir("/proc/self/fd"))
    yield
    assert [entry.mount_id for entry in mountinfo.entries()] == mounts
    assert len(os.listdir("/proc/self/fd")) == fds
    gone = eventually(lambda: all(in_kernel()[kind] <= ids for kind, ids in before.items()))
    left = {kind: in_kernel()[kind] - ids for kind, ids in before.items()}
    assert gone, f"left in the kernel: {left}"


def handwritten(directory: Path, hook: str, body: str, name: str) -> Path:
    """An object around one filter in C, for what the language does not let pass."""
    member = hook
    source = (
        '#include "fusebpf.h"\n'
        f'SEC("?struct_ops/{member}") int {name}_ops(__u64 *args) {{ {body} }}\n'
        f'FUSEBPF_OPS("odd", .{member} = FUSEBPF_PROG({name}))\n'
    )
    meta = Metadata("odd", 1, "odd.py", "0" * 64, (HookMeta(hook, name, 7, name),), (), "0", "0")
    path = directory / f"{name}.o"
    path.write_bytes(compile_c(find_clang(), source + c_trailer(meta), directory))
    return path
