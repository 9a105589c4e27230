# SPDX-License-Identifier: MIT
"""Every hook of the opcode table: refusing, changing every argument, seeing every failure."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fusebpf.abi.opcodes import HOOKS, OPS
from fusebpf.runtime import sysbpf
from tests.vm import hook_calls, hookkit
from tests.vm import kernelkit as kit
from tests.vm.hook_table import CASES, Case, Failure

SERVED = [op.name for op in OPS.values() if kit.served(op)]
CODES = (errno.EPERM, errno.EIO, errno.EACCES, errno.EROFS, errno.ELOOP, 133)
STRANGE = (-5000, -4096, -512, 6, 255, 2**31 - 1, 2**31)


@pytest.fixture
def lower(lower: Path, tmp_path: Path) -> Iterator[Path]:
    umask = os.umask(0)
    hook_calls.populate(lower)
    tmp_path.chmod(0o755)
    yield lower
    os.umask(umask)


@pytest.fixture(scope="module")
def every() -> Iterator[hookkit.Hooks]:
    """All filters but default_filter, attached once: loading them is what takes time."""
    hooks = hookkit.Hooks(tuple(name for name, hook in HOOKS.items() if kit.served(hook)))
    yield hooks
    hooks.close()


@pytest.fixture
def hooks(every: hookkit.Hooks, lower: Path, mnt: Path) -> Iterator[hookkit.Hooks]:
    """A mount with all of them, each returning CONTINUE."""
    with hookkit.mounted(every, lower, mnt):
        yield every


def pair(op: str) -> tuple[str, str]:
    return f"{op}_prefilter", f"{op}_postfilter"


def result_of(call: Callable[[], Any]) -> tuple[int, Any]:
    """The errno that a call fails with, 0 when it does not, and its result."""
    try:
        return 0, call()
    except OSError as error:
        return error.errno or 0, None


def _state(path: Path) -> tuple[object, ...]:
    found = path.lstat()
    text = os.readlink(path) if path.is_symlink() else ""
    data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    xattrs = tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(os.listxattr(path, follow_symlinks=False))
    )
    kind = (path.name, found.st_mode, found.st_uid, found.st_nlink, found.st_mtime_ns)
    return (*kind, text, data, xattrs)


def snapshot(lower: Path) -> list[tuple[object, ...]]:
    """All that an operation could have changed below."""
    return [_state(path) for path in sorted(lower.rglob("*"))]


def test_every_hook_has_a_case() -> None:
    assert set(CASES) == set(OPS)


@pytest.mark.parametrize("op", SERVED)
def test_every_argument_is_described(op: str) -> None:
    """What a filter may change shows, or a reason says why not; nothing else is described."""
    case = CASES[op]
    pre, post = (hookkit.writable(HOOKS[hook]) for hook in pair(op))
    described = [*case.pre, *case.post, *case.none]
    assert sorted(described) == sorted([*pre, *post])
    assert set(case.pre) <= set(pre)
    assert set(case.post) <= set(post)
    assert bool(case.fails) != bool(case.never_fails)


@pytest.mark.parametrize("op", SERVED)
def test_prefilter_refuses(hooks: hookkit.Hooks, lower: Path, mnt: Path, op: str) -> None:
    """Every errno reaches the caller; nothing is done below, no postfilter runs."""
    case, (pre, post) = CASES[op], pair(op)
    before = snapshot(lower)
    for code in CODES:
        hooks.steer(pre, verdict=-code)
        assert result_of(lambda: case.provoke(mnt))[0] == (0 if case.no_verdict else code)
    seen = hooks.look(pre)
    assert seen.count >= len(CODES)
    assert seen.opcode == OPS[op].opcode | kit.OPCODE_PRE
    assert seen.error_in == 0
    assert hooks.look(post).count == 0
    hooks.steer(pre)
    assert snapshot(lower) == before


@pytest.mark.parametrize("op", SERVED)
def test_verdicts(hooks: hookkit.Hooks, lower: Path, mnt: Path, op: str) -> None:
    """Strange ones give EIO, those for a daemon ECONNREFUSED with nothing done."""
    case, (pre, post) = CASES[op], pair(op)
    before = snapshot(lower)
    for verdict in STRANGE:
        hooks.steer(pre, verdict=verdict)
        assert result_of(lambda: case.provoke(mnt))[0] == (0 if case.no_verdict else errno.EIO)
    for verdict in (kit.USER, kit.USER_PREFILTER, kit.USER_POSTFILTER):
        hooks.steer(pre, verdict=verdict)
        expected = 0 if case.no_verdict else errno.ECONNREFUSED
        assert result_of(lambda: case.provoke(mnt))[0] == expected
    assert hooks.look(post).count == 0
    hooks.steer(pre)
    assert snapshot(lower) == before
    hooks.steer(pre, verdict=kit.POSTFILTER)
    for verdict in STRANGE:
        hooks.steer(post, verdict=verdict)
        code = result_of(lambda: case.provoke(mnt))[0]
        assert code in (
            (0,) if case.no_verdict else (errno.EIO, errno.EEXIST, errno.ENOENT, errno.ENODATA)
        )
    assert hooks.look(post).count >= 1
    assert hooks.look(post).opcode == OPS[op].opcode | kit.OPCODE_POST


@pytest.mark.parametrize("verdict", [kit.CONTINUE, kit.POSTFILTER, kit.CALL_DEFAULT])
@pytest.mark.parametrize("op", SERVED)
def test_operation_works(
    hooks: hookkit.Hooks, lower: Path, mnt: Path, op: str, verdict: int
) -> None:
    case, (pre, post) = CASES[op], pair(op)
    hooks.steer(pre, verdict=verdict)
    case.provoke(mnt)
    assert hooks.look(pre).count >= 1
    assert (hooks.look(post).count >= 1) == (verdict == kit.POSTFILTER)
    assert hooks.look(post).error_in == 0


def _changes() -> list[tuple[str, str, str]]:
    return [
        (op, phase, argument)
        for op in SERVED
        for phase in ("pre", "post")
        for argument in getattr(CASES[op], phase)
    ]


def _steer(hooks: hookkit.Hooks, hook: str, verdict: int, changes: dict[str, int | bytes]) -> None:
    named: dict[str, Any] = {name.replace(".", "__"): value for name, value in changes.items()}
    hooks.steer(hook, verdict=verdict, **named)


@pytest.mark.parametrize("made", [True, False], ids=["made", "not"])
@pytest.mark.parametrize(("op", "phase", "argument"), _changes())
def test_change_shows(
    hooks: hookkit.Hooks, lower: Path, mnt: Path, op: str, phase: str, argument: str, made: bool
) -> None:
    """And does not where the filter leaves the argument alone."""
    case, (pre, _post) = CASES[op], pair(op)
    change = getattr(case, phase)[argument]
    hooks.steer(pre, verdict=kit.POSTFILTER)
    if made:
        _steer(hooks, f"{op}_{phase}filter", kit.POSTFILTER, {argument: change.value})
    _code, result = result_of(lambda: case.provoke(mnt))
    try:
        shows = change.shows(mnt, lower, result)
    except OSError:  # what it would show is not there
        shows = False
    assert shows is made, result


@pytest.mark.parametrize(("op", "name"), [("lookup", "file"), ("create_open", "new")])
def test_nodes_that_postfilters_give(hooks: hookkit.Hooks, mnt: Path, op: str, name: str) -> None:
    hooks.steer(f"{op}_prefilter", verdict=kit.POSTFILTER)
    _steer(hooks, f"{op}_postfilter", kit.CONTINUE, {"entry_out.nodeid": 4711})
    with kit.opened(mnt / name, os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"x")
    assert hooks.look("write_iter_prefilter").nodeid == 4711


def test_a_pass_of_a_listing_is_as_large_as_a_filter_says(
    hooks: hookkit.Hooks, lower: Path, mnt: Path
) -> None:
    names = [letter * 200 for letter in "stuvwxyz"]
    for name in names:
        (lower / "dir" / name).touch()

    def passes() -> int:
        before = hooks.look("readdir_postfilter").count
        assert set(names) <= set(os.listdir(mnt / "dir"))
        return int(hooks.look("readdir_postfilter").count - before)

    hooks.steer("readdir_prefilter", verdict=kit.POSTFILTER)
    few = passes()
    _steer(hooks, "readdir_prefilter", kit.POSTFILTER, {"read_in.size": 1})
    assert passes() >= len(names) > few


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


@contextmanager
def circumstances(lower: Path, failure: Failure) -> Iterator[None]:
    """What makes a lower operation fail, for as long as it shall."""
    with ExitStack() as stack:
        if failure.busy:
            target = lower / failure.busy
            run("mount", "--bind", target, target)
            stack.callback(run, "umount", target)
        if failure.full:
            number = 0
            while not result_of(lambda: (lower / f"fill{number}").touch())[0]:  # noqa: B023
                number += 1
        yield


@contextmanager
def little(lower: Path, wanted: bool) -> Iterator[None]:
    """A lower file system with few inodes."""
    if not wanted:
        yield
        return
    run("mount", "-t", "tmpfs", "-o", "nr_inodes=20,mode=755", "none", lower)
    try:
        yield
    finally:
        run("umount", lower)


FAILING = [op for op in SERVED if CASES[op].fails]


def _failing(op: str) -> tuple[Case, Failure]:
    failure = CASES[op].fails
    assert failure is not None
    return CASES[op], failure


@pytest.mark.parametrize("op", FAILING)
def test_postfilter_sees_a_failure(every: hookkit.Hooks, lower: Path, mnt: Path, op: str) -> None:
    """In error_in; it can replace it, and clear it where nothing is missing then."""
    _case, failure = _failing(op)
    pre, post = pair(op)
    with (
        little(lower, failure.full),
        hookkit.mounted(every, lower, mnt) as hooks,
        circumstances(lower, failure),
    ):
        _steer(hooks, pre, kit.POSTFILTER, failure.pre)
        assert result_of(lambda: failure.provoke(mnt))[0] == failure.code
        assert hooks.look(post).error_in == -failure.code
        hooks.steer(post, verdict=-errno.EDOM)
        assert result_of(lambda: failure.provoke(mnt))[0] == errno.EDOM
        hooks.steer(post, clear=True)
        code, result = result_of(lambda: failure.provoke(mnt))
        assert hooks.look(post).error_in == -failure.code
        if failure.cleared is None:
            assert code == failure.code
            assert hooks.look(post).clear == -errno.EPERM
        else:
            assert code == 0
            assert hooks.look(post).clear == 0
            assert failure.cleared(result)
        hooks.reset()


@pytest.mark.parametrize("op", SERVED)
def test_detached_filters_close_the_operation(lower: Path, mnt: Path, op: str) -> None:
    """With EIO, also when the set is torn away between two calls."""
    case, (pre, _post) = CASES[op], pair(op)
    with hookkit.hooked(lower, mnt, pre) as hooks:
        before = snapshot(lower)
        sysbpf.link_detach(hooks.link.fd)
        code = result_of(lambda: case.provoke(mnt))[0]
        assert code == (0 if case.no_verdict else errno.EIO)
        assert snapshot(lower) == before


def test_replaced_filters_act_at_once(lower: Path, mnt: Path) -> None:
    """For every hook, on one mount."""
    members = tuple(pair(op)[0] for op in SERVED)
    with hookkit.hooked(lower, mnt, *members) as hooks:
        following = hookkit.open_more(hooks, members)
        try:
            assert kit.link_update(hooks, following.object) == 0
            for op in SERVED:
                pre, case = pair(op)[0], CASES[op]
                following.steer(pre, verdict=-errno.EDOM)
                code = result_of(lambda: case.provoke(mnt))[0]  # noqa: B023
                assert code == (0 if case.no_verdict else errno.EDOM), op
                assert following.look(pre).count >= 1
                following.steer(pre)
            assert all(hooks.look(hook).count == 0 for hook in members)
        finally:
            following.reset()
            following.object.close()


def test_length_of_an_attribute(hooks: hookkit.Hooks, mnt: Path) -> None:
    """A caller that asks for a length gets the one that the postfilter says."""
    hooks.steer("getxattr_prefilter", verdict=kit.POSTFILTER)
    assert hook_calls.getxattr_length(mnt) == len(b"first value")
    hooks.steer("getxattr_postfilter", getxattr_out__size=5)
    assert hook_calls.getxattr_length(mnt) == 5
    # A prefilter can have the value fetched, so that the postfilter sees it
    hooks.steer("getxattr_prefilter", verdict=kit.POSTFILTER, getxattr_in__size=65536)
    hooks.steer("getxattr_postfilter", result=b"longer than it was")
    assert hook_calls.getxattr_length(mnt) == len(b"longer than it was")
    assert hooks.buffer("getxattr_postfilter", "result") == b"first value"
    buffer = ctypes.create_string_buffer(4)
    libc = ctypes.CDLL(None, use_errno=True)
    path = os.fsencode(mnt / "file")
    assert libc.getxattr(path, b"user.one", buffer, 4) == -1
    assert ctypes.get_errno() == errno.ERANGE


def test_every_attribute_can_be_set(hooks: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    """By a filter that adds to what the caller asked for, as far as the caller may."""
    pre = "setattr_prefilter"
    hooks.steer(
        pre,
        setattr_in__valid=0b110110,
        setattr_in__uid=7,
        setattr_in__gid=8,
        setattr_in__atime=100,
        setattr_in__mtime=200,
        setattr_in__atimensec=1,
        setattr_in__mtimensec=2,
    )
    os.chmod(mnt / "file", 0o600)
    found = (lower / "file").stat()
    assert (found.st_uid, found.st_gid) == (7, 8)
    assert (found.st_atime_ns, found.st_mtime_ns) == (100 * 10**9 + 1, 200 * 10**9 + 2)
    assert found.st_mode & 0o777 == 0o644
    hooks.steer(pre, setattr_in__valid=1 << 3, setattr_in__size=3)
    os.chmod(mnt / "file", 0o600)
    assert (lower / "file").stat().st_size == 3
    # The caller's rights are checked on what the filter made of it
    hooks.steer(pre, setattr_in__valid=1 << 1, setattr_in__uid=0)
    os.chown(lower / "file", hook_calls.NOBODY, 0)
    directory = os.open(mnt, os.O_PATH)
    path = Path(f"/proc/self/fd/{directory}/file")

    def chmod() -> bool:
        os.chmod(path, 0o600)
        return True

    assert result_of(lambda: hook_calls.as_nobody(chmod))[0] == errno.EPERM
    os.close(directory)
