# SPDX-License-Identifier: MIT
"""The mount API, on a file system that every kernel has."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf.runtime import mountinfo
from fusebpf.runtime.fsmount import FsContext, MountError, move_mount, umount
from tests.unit.runtime_objects import needs_root

pytestmark = needs_root


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def test_mount_move_and_umount(tmp_path: Path) -> None:
    with FsContext("tmpfs") as context:
        context.set_string("source", "a name, with comma")
        context.set_string("size", "1m")
        fd = context.mount()
    before = len(mountinfo.entries())
    try:
        move_mount(fd, tmp_path)
    finally:
        os.close(fd)
    entry = mountinfo.at(tmp_path)
    assert entry is not None
    assert (entry.fs_type, entry.source) == ("tmpfs", "a name, with comma")
    assert not entry.is_fuse_bpf
    with (tmp_path / "held").open("w"):
        with pytest.raises(OSError, match="busy") as caught:
            umount(tmp_path)
        assert caught.value.errno == errno.EBUSY
        umount(tmp_path, lazy=True)
    assert mountinfo.at(tmp_path) is None
    assert len(mountinfo.entries()) == before


def test_of_a_source_that_is_too_long_the_end_is_shown(tmp_path: Path) -> None:
    for name in ("a" * 300 + "/last", os.fsdecode(b"odd\xff")):
        with FsContext("tmpfs") as context:
            context.set_source(name)
            fd = context.mount()
        try:
            move_mount(fd, tmp_path)
        finally:
            os.close(fd)
        entry = mountinfo.at(tmp_path)
        umount(tmp_path)
        assert entry is not None
        assert entry.source == ("..." + name[-252:] if len(name) > 255 else name)


def test_a_mount_that_is_not_moved_goes_with_its_descriptor() -> None:
    before = mountinfo.entries()
    with FsContext("tmpfs") as context:
        os.close(context.mount())
    assert mountinfo.entries() == before


def test_refused_options_come_with_the_file_systems_words() -> None:
    with FsContext("tmpfs") as context:
        with pytest.raises(MountError) as caught:
            context.set_string("size", "rubbish")
        error = caught.value
        assert error.errno == errno.EINVAL
        assert error.log
        assert str(error) == f"mount option size is refused: {error.log[-1]}"
        assert "size" in error.log[-1]
        assert context.log() == (), "read once"
        with pytest.raises(MountError, match="mount option nonsense is refused"):
            context.set_flag("nonsense")


def test_unknown_file_system() -> None:
    with pytest.raises(OSError, match="No such device") as caught:
        FsContext("no_such_fs")
    assert caught.value.errno == errno.ENODEV
