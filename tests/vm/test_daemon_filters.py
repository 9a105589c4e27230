# SPDX-License-Identifier: MIT
"""Per operation: a filter in the daemon refuses, changes, sees; a verdict leaves it all to it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fusebpf import USER, USER_POSTFILTER, USER_PREFILTER, Dirents, EntryOut, Name
from fusebpf.abi import HOOKS, OPS
from fusebpf.abi.protocol import REQUESTS
from fusebpf.daemon import Call
from tests.vm import daemonkit as kit
from tests.vm import hook_calls, kernelkit
from tests.vm.hook_table import CASES, Change
from tests.vm.limits import eventually

SERVED = [name for name, op in OPS.items() if kernelkit.served(op)]
#: What a rename without flags calls: rename2 where struct fuse_ops has no room for the pair.
RENAME = "rename" if "rename" in SERVED else "rename2"
#: Nobody waits for these.
TOLD = ("release", "releasedir")


@dataclass
class World:
    """A mount with a scripted daemon, filters that call it, and a fresh directory in it."""

    daemon: kit.Scripted
    verdicts: kit.Verdicts
    top: Path
    lower_top: Path
    name: str = ""

    @property
    def mnt(self) -> Path:
        return self.top / self.name

    @property
    def lower(self) -> Path:
        return self.lower_top / self.name

    def ask(self, op: str, verdict: Any, **answers: Any) -> None:
        """Have a verdict given for an operation, and the daemon answer so."""
        self.daemon._reset(**answers)
        self.verdicts.set(op, verdict.value)


_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("daemon")
    lower, mnt = base / "lower", base / "mnt"
    lower.mkdir()
    mnt.mkdir()
    daemon, verdicts = kit.Scripted(), kit.Verdicts()
    try:
        verdicts.reset()
        with kit.served(daemon, mnt, lower=lower, link=verdicts.link.fd):
            yield World(daemon, verdicts, mnt, lower)
            verdicts.reset()
    finally:
        verdicts.close()


def make_files(lower: Path) -> None:
    """Make the directory that the operations below need."""
    (lower / "dir").mkdir(parents=True)
    (lower / "empty").mkdir()
    (lower / "dir/one").touch()
    (lower / "dir/two").touch()
    (lower / "file").write_text("0123456789")
    (lower / "other").write_text("other")
    os.setxattr(lower / "file", "user.a", b"value a")
    os.setxattr(lower / "file", "user.b", b"value b")
    os.symlink("target a", lower / "link")
    os.symlink("target b", lower / "link2")


@pytest.fixture
def world(mounted: World) -> Iterator[World]:
    """Everything that the operations below need, new."""
    mounted.verdicts.reset()
    mounted.daemon._reset()
    mounted.name = f"w{next(_NUMBERS)}"
    make_files(mounted.lower)
    yield mounted
    mounted.verdicts.reset()


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


def on_file(operation: Callable[[int], Any]) -> Callable[[World], Any]:
    """An operation on an open file, which is opened before filters are asked."""

    def run(world: World) -> Any:
        with opened(world.mnt / "file") as fd:
            return operation(fd)

    return run


def do_opendir(world: World) -> None:
    os.close(os.open(world.mnt / "dir", os.O_RDONLY | os.O_DIRECTORY))


def do_create(world: World) -> None:
    os.close(os.open(world.mnt / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def do_flush(world: World) -> None:
    os.close(os.open(world.mnt / "file", os.O_RDONLY))


def do_copy(world: World) -> int:
    with opened(world.mnt / "file") as src, opened(world.mnt / "other") as dst:
        return os.copy_file_range(src, dst, 10, 0, 0)


def do_dir_fsync(world: World) -> None:
    with opened(world.mnt / "dir", os.O_RDONLY) as fd:
        os.fsync(fd)


def do_access(world: World) -> None:
    if not os.access(world.mnt / "file", os.R_OK):
        raise OSError(errno.EDOM, "access(2) says no; Python does not say why")


def do_release(world: World) -> None:
    os.close(os.open(world.mnt / "file", os.O_RDONLY))


DO: dict[str, Callable[[World], Any]] = {
    "open": lambda world: os.close(os.open(world.mnt / "file", os.O_RDONLY)),
    "opendir": do_opendir,
    "create_open": do_create,
    "release": do_release,
    "releasedir": do_opendir,
    "flush": do_flush,
    "lseek": on_file(lambda fd: os.lseek(fd, 3, os.SEEK_DATA)),
    "copy_file_range": do_copy,
    "fsync": on_file(os.fsync),
    "dir_fsync": do_dir_fsync,
    "getxattr": lambda world: os.getxattr(world.mnt / "file", "user.a"),
    "listxattr": lambda world: os.listxattr(world.mnt / "file"),
    "setxattr": lambda world: os.setxattr(world.mnt / "file", "user.c", b"value c"),
    "removexattr": lambda world: os.removexattr(world.mnt / "file", "user.a"),
    "read_iter": on_file(lambda fd: os.pread(fd, 4, 2)),
    "write_iter": on_file(lambda fd: os.pwrite(fd, b"XYZ", 2)),
    "file_fallocate": on_file(lambda fd: os.posix_fallocate(fd, 0, 20)),
    "lookup": lambda world: os.stat(world.mnt / "file"),
    "mknod": lambda world: os.mkfifo(world.mnt / "new", 0o666),
    "mkdir": lambda world: (world.mnt / "new").mkdir(),
    "rmdir": lambda world: (world.mnt / "empty").rmdir(),
    "rename2": lambda world: kernelkit.exchange(world.mnt / "file", world.mnt / "other"),
    RENAME: lambda world: os.rename(world.mnt / "file", world.mnt / "other"),
    "unlink": lambda world: (world.mnt / "file").unlink(),
    "link": lambda world: os.link(world.mnt / "file", world.mnt / "new"),
    "getattr": lambda world: os.stat(world.mnt / "file"),
    "setattr": lambda world: os.truncate(world.mnt / "file", 5),
    "statfs": lambda world: os.statvfs(world.mnt),
    "get_link": lambda world: os.readlink(world.mnt / "link"),
    "symlink": lambda world: os.symlink("target", world.mnt / "new"),
    "readdir": lambda world: os.listdir(world.mnt / "dir"),
    "access": do_access,
}


def code_of(world: World, op: str) -> int:
    """The errno that an operation ends with; 0 when it does not."""
    try:
        DO[op](world)
    except OSError as error:
        return error.errno or 0
    return 0


def test_every_operation_of_the_table_is_here() -> None:
    assert set(DO) == {*SERVED, "dir_fsync"}  # which has no room on 7.3


@pytest.mark.parametrize("op", SERVED)
def test_prefilter_refuses(world: World, op: str) -> None:
    world.ask(op, USER_PREFILTER, **{f"{op}_pre": -errno.EDOM})
    code = code_of(world, op)
    world.verdicts.reset()
    assert eventually(lambda: bool(world.daemon._seen(f"{op}_pre")))
    if op in TOLD:
        assert code == 0
        return
    assert code == errno.EDOM
    assert not world.daemon._seen(f"{op}_post")
    # Nothing was done below
    assert (world.lower / "file").read_text() == "0123456789"
    assert sorted(os.listdir(world.lower)) == ["dir", "empty", "file", "link", "link2", "other"]
    assert sorted(os.listxattr(world.lower / "file"))[:2] == ["user.a", "user.b"]


@pytest.mark.parametrize("op", SERVED)
def test_prefilter_goes_on_by_an_answer_without_a_verdict(world: World, op: str) -> None:
    world.ask(op, USER_PREFILTER)
    assert code_of(world, op) == 0
    world.verdicts.reset()
    assert eventually(lambda: bool(world.daemon._seen(f"{op}_pre")))
    assert not world.daemon._seen(f"{op}_post")


@pytest.mark.parametrize("op", SERVED)
def test_prefilter_can_ask_for_the_postfilter(world: World, op: str) -> None:
    if op in TOLD:
        pytest.skip("nobody waits for what it answers")
    world.ask(op, USER_PREFILTER, **{f"{op}_pre": USER_POSTFILTER})
    assert code_of(world, op) == 0
    world.verdicts.reset()
    assert world.daemon._seen(f"{op}_pre")
    assert world.daemon._seen(f"{op}_post")


@pytest.mark.parametrize("op", SERVED)
def test_postfilter_refuses(world: World, op: str) -> None:
    world.ask(op, USER_POSTFILTER, **{f"{op}_post": -errno.EDOM})
    code = code_of(world, op)
    world.verdicts.reset()
    assert eventually(lambda: bool(world.daemon._seen(f"{op}_post")))
    assert code == (0 if op in TOLD else errno.EDOM)


@pytest.mark.parametrize("op", SERVED)
def test_all_of_it_can_be_left_to_the_daemon(world: World, op: str) -> None:
    # It answers EDOM; but opens succeed, so that what needs an open file gets as far
    closing = {} if op == "flush" else {"flush": None}
    world.ask(op, USER, **closing)
    code = code_of(world, op)
    world.verdicts.reset()
    if op in TOLD:
        # A file that was opened below is closed below
        assert code == 0
        return
    assert world.daemon._seen("rename" if op == RENAME else op)
    assert code == (0 if op in ("open", "opendir") else errno.EDOM)
    assert (world.lower / "file").read_text() == "0123456789"


@pytest.fixture
def changing(mounted: World) -> Iterator[World]:
    """A fresh directory with what hook_table.py needs."""
    umask = os.umask(0)
    mounted.verdicts.reset()
    mounted.daemon._reset()
    mounted.name = f"c{next(_NUMBERS)}"
    hook_calls.populate(mounted.lower)
    yield mounted
    mounted.verdicts.reset()
    os.umask(umask)


def _store(path: str, value: int | bytes, args: Sequence[Any]) -> None:
    """What a program does with an argument of the opcode table, done to the daemon's."""
    target: Any = args[0]
    *parents, member = path.split(".")[1:] or ["raw"]
    for name in parents:
        target = getattr(target, name)
    if isinstance(value, int):
        setattr(target, member, value)
    elif isinstance(target, Dirents):
        kept = [entry for entry in target if bytes(entry.name.raw)[:1] != value[:1]]
        target.entries = kept
    else:
        target.raw = value.removesuffix(b"\0") if isinstance(target, Name) else value


def _changes() -> list[tuple[str, str, str]]:
    return [
        (op, phase, argument)
        for op in SERVED
        if op not in TOLD
        for phase in ("pre", "post")
        for argument in getattr(CASES[op], phase)
    ]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # another user is a fork
@pytest.mark.parametrize(("op", "phase", "argument"), _changes())
def test_change_shows(changing: World, op: str, phase: str, argument: str) -> None:
    """Every argument that a program may change, with the effect that it has from a program."""
    change: Change = getattr(CASES[op], phase)[argument]
    names = [arg.name for arg in HOOKS[f"{op}_{phase}filter"].args]
    at = names.index(argument.split(".")[0])

    def handler(_call: Call, *args: Any) -> None:
        _store(argument, change.value, args[at:])

    # By a descriptor: the names on the way to it are nobody's business
    with opened(changing.mnt, os.O_PATH) as fd:
        mnt = Path(f"/proc/self/fd/{fd}")
        verdict = USER_PREFILTER if phase == "pre" else USER_POSTFILTER
        changing.ask(op, verdict, **{f"{op}_{phase}": handler})
        result: Any = None
        with contextlib.suppress(OSError):
            result = CASES[op].provoke(mnt)
        assert change.shows(mnt, changing.lower, result), result
        assert changing.daemon._seen(f"{op}_{phase}")


def test_requests_carry_the_nodeid_that_was_given(world: World) -> None:
    world.ask("getattr", USER_POSTFILTER)
    world.verdicts.set("lookup", USER_POSTFILTER.value)
    world.daemon._answers["lookup_post"] = lambda _call, _name, out, _e: setattr(
        out, "nodeid", 4242
    )
    os.stat(world.mnt / "file")
    world.verdicts.reset()
    assert world.daemon._seen("getattr_post")[-1][0].nodeid == 4242  # type: ignore[union-attr]


def test_a_nodeid_for_a_free_name_is_forgotten_each_time(world: World) -> None:
    given = 0

    def give(_call: Call, name: Name, out: EntryOut, _entries: object) -> None:
        nonlocal given
        if name.raw == b"free":
            out.nodeid = 4242
            given += 1

    world.daemon._answers["lookup_post"] = give
    world.verdicts.set("lookup", USER_POSTFILTER.value)
    for _ in range(3):
        assert not (world.mnt / "free").exists()
    world.verdicts.reset()
    assert given == 3
    assert eventually(lambda: len(world.daemon._seen("forget")) == given)


def test_access_that_is_left_to_the_daemon_opens_no_directory(world: World) -> None:
    """It hears of access(2) and chdir(2) alone: for all else, the modes below count."""
    (world.lower / "dir").chmod(0o700)
    with opened(world.mnt, os.O_PATH) as fd:  # which everyone can walk from
        inner = Path(f"/proc/self/fd/{fd}/dir/one")

        def read() -> bool:
            return hook_calls.as_nobody(lambda: not inner.read_bytes())

        world.ask("access", USER, access=None)
        assert hook_calls.as_nobody(lambda: os.access(inner.parent, os.W_OK))
        assert world.daemon._seen("access")
        with pytest.raises(PermissionError):
            read()
        (world.lower / "dir").chmod(0o755)
        (world.lower / "dir/one").chmod(0o600)
        with pytest.raises(PermissionError):
            read()
        (world.lower / "dir/one").chmod(0o604)
        assert read()


def test_a_file_without_a_name_is_asked_about(world: World) -> None:
    """O_TMPFILE asks as CREATE does, by its own number; nothing of it has a name."""
    (tmpfile,) = (r.opcode for r in REQUESTS.values() if r.opcode_name == "TMPFILE")

    def made() -> int:
        return os.open(world.mnt, os.O_TMPFILE | os.O_RDWR, 0o600)

    world.daemon._reset(create_open_pre=-errno.EDOM)
    world.verdicts.put(tmpfile, USER_PREFILTER.value)
    with pytest.raises(OSError) as info:
        made()
    assert info.value.errno == errno.EDOM
    for method in ("create_open_pre", "create_open_post"):
        verdict = USER_PREFILTER if method.endswith("pre") else USER_POSTFILTER
        world.daemon._reset()
        world.verdicts.put(tmpfile, verdict.value)
        fd = made()
        world.verdicts.put(tmpfile, 0)
        os.write(fd, b"x")
        os.close(fd)
        ((call, args),) = world.daemon._seen(method)
        assert call is not None
        assert (call.opcode, args[1].raw) == (tmpfile, b"")


def test_postfilter_sees_inputs_results_and_the_error(world: World) -> None:
    world.ask("getattr", USER_POSTFILTER)
    os.stat(world.mnt / "file")
    world.verdicts.reset()
    assert world.daemon._seen("getattr_post")[-1][1][1].attr.size == 10

    failing: dict[str, tuple[int, Callable[[], Any]]] = {
        "mkdir": (errno.EEXIST, lambda: (world.mnt / "dir").mkdir()),
        "rmdir": (errno.ENOTEMPTY, lambda: (world.mnt / "dir").rmdir()),
        "getxattr": (errno.ENODATA, lambda: os.getxattr(world.mnt / "file", "user.none")),
        "removexattr": (errno.ENODATA, lambda: os.removexattr(world.mnt / "file", "user.none")),
        "lookup": (errno.ENOENT, lambda: os.stat(world.mnt / "none")),
    }
    for op, (code, call) in failing.items():
        world.ask(op, USER_POSTFILTER)
        with pytest.raises(OSError) as info:
            call()
        world.verdicts.reset()
        assert info.value.errno == code
        if op == "mkdir":
            continue  # the VFS knows that the name is there
        seen = world.daemon._seen(f"{op}_post")[-1]
        assert seen[0] is not None
        assert seen[0].error_in == -code, op
        if op in ("getxattr", "removexattr"):
            assert seen[1][1 if op == "getxattr" else 0] == Name("user.none")
