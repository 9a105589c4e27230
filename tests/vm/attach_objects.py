# SPDX-License-Identifier: MIT
"""What the attach tests share: a filter file, its object, and a count of what is in the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fusebpf.build.clang import compile_c, find_clang
from fusebpf.build.metadata import HookMeta, Metadata, c_trailer
from fusebpf.runtime import mountinfo, sysbpf
from tests.vm.limits import SLOWNESS

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
    """Run the CLI as a process of its own."""
    command = [sys.executable, "-m", "fusebpf.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120 * SLOWNESS)


def in_kernel() -> dict[str, set[int]]:
    """Ids of all links, programs and maps."""
    return {
        "links": set(sysbpf.ids(sysbpf.LINK_GET_NEXT_ID)),
        "programs": set(sysbpf.ids(sysbpf.PROG_GET_NEXT_ID)),
        "maps": set(sysbpf.ids(sysbpf.MAP_GET_NEXT_ID)),
    }


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait until a condition holds: links and programs are put by deferred work."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


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
