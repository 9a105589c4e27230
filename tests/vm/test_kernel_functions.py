# SPDX-License-Identifier: MIT
"""Functions that filters call: the name automaton, tags of two objects, scratch memory."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fusebpf.runtime import sysbpf
from tests.vm import kernelkit as kit

SOURCE = Path(__file__).with_name("function_filters.bpf.c")
SEEN = kit.enum_of(SOURCE, 0)
#: States of the automaton below: at a dot, then "k"; ".k" at the end is accepted.
START, DOT, REST, ACCEPTED = range(4)


class Functions(kit.Filters):
    """The filters of function_filters.bpf.c, attached."""

    TABLES = ()

    def walk_to(self, state: int, byte: int) -> None:
        """Have a byte lead from every state to one, and every other byte to START."""
        row = [START] * 256
        row[byte] = state
        for number in range(4):
            self.put("dfa", number, struct.pack("=256H", *row))

    def put(self, table: str, key: int, value: bytes) -> None:
        sysbpf.map_update(self.object.maps[table].fd, struct.pack("=I", key), value)

    def result(self, what: str) -> int:
        key = struct.pack("=I", SEEN[f"SEEN_{what.upper()}"])
        raw = sysbpf.map_lookup(self.object.maps["results"].fd, key, 8)
        assert raw is not None
        return int(struct.unpack("=q", raw)[0])


@pytest.fixture(scope="module")
def attached() -> Iterator[Functions]:
    functions = Functions((), None, kit.compiled(SOURCE))
    yield functions
    functions.close()


@pytest.fixture
def f(attached: Functions, lower: Path, mnt: Path) -> Iterator[Functions]:
    (lower / "other").write_text("other\n")
    (lower / "plain").mkdir()
    for name in ("tag4", "tag7"):
        (lower / name).mkdir()
        (lower / name / "inner").write_text("inner\n")
    attached.put("states", 0, struct.pack("=Q", START))
    for state in range(4):
        attached.put("dfa", state, bytes(512))
    with kit.mounted(lower, mnt, root_bpf_link=attached.link.fd):
        yield attached


def names_with_an_extension(f: Functions, extension: bytes) -> None:
    """An automaton for what ends with a dot and one byte."""
    for state in range(4):
        row = [START] * 256
        row[ord(".")] = DOT
        if state == DOT:
            row[extension[0]] = ACCEPTED
        f.put("dfa", state, struct.pack("=256H", *row))


def test_an_automaton_hides_names(f: Functions, lower: Path, mnt: Path) -> None:
    names = [b"a.k", b".k", b"a.k.k", b"a.kk", b"a.", b"k", b"a.q", b"\xff.k", b"x" * 253 + b".k"]
    for name in names:
        (lower / os.fsdecode(name)).touch()
    names_with_an_extension(f, b"k")
    seen = [name for name in names if os.path.lexists(os.fsencode(mnt) + b"/" + name)]
    assert seen == [b"a.kk", b"a.", b"k", b"a.q"]
    # The map is read while the filters are attached
    names_with_an_extension(f, b"q")
    seen = [name for name in names if os.path.lexists(os.fsencode(mnt) + b"/" + name)]
    assert seen == [name for name in names if name != b"a.q"]


def test_a_walk_begins_where_it_is_told(f: Functions, mnt: Path) -> None:
    names_with_an_extension(f, b"k")
    os.path.lexists(mnt / "k")
    assert f.result("walk") == START
    f.put("states", 0, struct.pack("=Q", DOT))
    assert not os.path.lexists(mnt / "k")
    assert f.result("walk") == ACCEPTED


@pytest.mark.parametrize("state", [4, 1 << 31, 1 << 32, (1 << 64) - 1])
def test_a_walk_leaves_no_map(f: Functions, mnt: Path, state: int) -> None:
    """Neither from a state that there is not, nor to one."""
    f.put("states", 0, struct.pack("=Q", state))
    os.stat(mnt / "file")
    assert f.result("walk") == -errno.EINVAL
    f.put("states", 0, struct.pack("=Q", START))
    f.walk_to(state & 0xFFFF or 0xFFFF, ord("e"))
    os.stat(mnt / "file")
    assert f.result("walk") == -errno.EINVAL


def test_a_walk_wants_an_array_of_256_states(f: Functions, mnt: Path) -> None:
    os.stat(mnt / "file")
    assert f.result("hash_walk") == -errno.EINVAL
    assert f.result("narrow_walk") == -errno.EINVAL


def test_a_walk_over_a_path(f: Functions, lower: Path, mnt: Path) -> None:
    """Longer than any name; all of it counts."""
    names_with_an_extension(f, b"k")
    os.symlink("d/" * 1000 + "e.k", mnt / "link")
    assert f.result("path_walk") == ACCEPTED
    os.symlink("d/" * 1000 + "e.k/", mnt / "link2")
    assert f.result("path_walk") == START
    assert os.readlink(lower / "link") == "d/" * 1000 + "e.k"


def rename2(old: Path, new: Path) -> None:
    """With RENAME_NOREPLACE: without flags it is another pair's where there is room for one."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), 1) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def rename(mnt: Path) -> None:
    rename2(mnt / "tag4/inner", mnt / "tag7/moved")


def link(mnt: Path) -> None:
    os.link(mnt / "tag4/inner", mnt / "tag7/second")


def copy(mnt: Path) -> None:
    with open(mnt / "tag4/inner", "rb") as source, open(mnt / "tag7/inner", "r+b") as target:
        os.copy_file_range(source.fileno(), target.fileno(), 3, 0, 0)


@pytest.mark.parametrize("call", [rename, link, copy])
def test_two_objects_have_two_tags(f: Functions, mnt: Path, call: Callable[[Path], None]) -> None:
    call(mnt)
    assert (f.result("tag"), f.result("tag2")) == (4, 7)


def test_one_object_has_one_tag(f: Functions, mnt: Path) -> None:
    os.symlink("x", mnt / "tag7/link")
    assert (f.result("tag"), f.result("tag2")) == (7, 0)
    (mnt / "tag4/inner").read_text()
    assert (f.result("tag"), f.result("tag2")) == (4, 0)
    rename2(mnt / "other", mnt / "tag7/other")
    assert (f.result("tag"), f.result("tag2")) == (0, 7)


def test_what_is_not_for_an_open(f: Functions, mnt: Path) -> None:
    (mnt / "file").read_text()
    for what in ("set_tag", "entry_valid", "clear_error"):
        assert f.result(what) == -errno.EINVAL
    assert f.result("scratch") == 1 + 2
    assert f.result("no_scratch") == 1


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[Functions, Path]]:
    """The same filters under another name, on a mount of their own."""
    below, mnt = tmp_path / "other below", tmp_path / "other"
    below.mkdir()
    mnt.mkdir()
    (below / "file").touch()
    functions = Functions((), None, kit.compiled(SOURCE))
    try:
        with kit.mounted(below, mnt, root_bpf_link=functions.link.fd):
            yield functions, mnt / "file"
    finally:
        functions.close()


def test_scratch_memory_is_not_handed_to_other_filters(
    f: Functions, other: tuple[Functions, Path], mnt: Path
) -> None:
    functions, file = other
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # each hands it on to its next operation
    try:
        for _ in range(3):
            file.read_text()
            (mnt / "file").read_text()
            assert (f.result("scratch_before"), functions.result("scratch_before")) == (0, 0)
    finally:
        os.sched_setaffinity(0, cpus)
