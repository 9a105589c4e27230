# SPDX-License-Identifier: MIT
"""The defects of the fuse-bpf RFC v4 that concern operations, one test each, named after it.

Those of its daemon protocol are not here; where a defect cannot exist in this implementation
(a NULL inode in release, functions defined in a header, a pointer stored before its reference is
held), there is nothing to provoke.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from pathlib import Path

import pytest

from fusebpf.abi.opcodes import OPS
from fusebpf.runtime.fsmount import FsContext, MountError
from fusebpf.runtime.libbpf import LibbpfError
from tests.vm import hookkit
from tests.vm import kernelkit as kit
from tests.vm.kernelkit import code_of


@pytest.fixture
def lower(lower: Path) -> Path:
    (lower / "dir/sub").mkdir()
    (lower / "link").symlink_to("dir")
    os.setxattr(lower / "file", "user.one", b"value")
    return lower


def test_01_refused_write_access_keeps_the_buffer(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "mkdir_prefilter", "unlink_prefilter") as hooks:
        hooks.steer("mkdir_prefilter", name=b"other\0")
        hooks.steer("unlink_prefilter", name=b"other\0")
        os.mkdir(mnt / "made")
        os.unlink(mnt / "file")
        assert hooks.look("mkdir_prefilter").set_len[0] == -errno.EPERM
    assert (lower / "made").is_dir()
    assert not (lower / "file").exists()


def test_02_a_length_never_exceeds_its_memory(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "setxattr_prefilter") as hooks:
        hooks.steer("setxattr_prefilter", value=b"x" * 65537)
        os.setxattr(mnt / "file", "user.new", b"abc")
        assert hooks.look("setxattr_prefilter").set_len[1] == -errno.EINVAL
        hooks.steer("setxattr_prefilter", value=b"x")
        os.setxattr(mnt / "file", "user.new", b"abc")
        assert os.getxattr(lower / "file", "user.new") == b"x"
        hooks.steer("setxattr_prefilter", name=b"x" * 300)
        call = os.setxattr
        assert code_of(lambda: call(mnt / "file", "user.new", b"abc")) == errno.EOPNOTSUPP
        assert hooks.look("setxattr_prefilter").set_len[0] == -errno.EINVAL


def test_03_buffers_grow_without_allocating(lower: Path, mnt: Path) -> None:
    """A program is not sleepable: the memory is there before it runs, all zeros."""
    with hookkit.hooked(lower, mnt, "setxattr_prefilter") as hooks:
        hooks.steer("setxattr_prefilter", value=b"x" * 2000)
        os.setxattr(mnt / "file", "user.new", b"abc")
    assert os.getxattr(lower / "file", "user.new") == b"x" * 64 + bytes(1936)


@pytest.mark.parametrize("program", ["bad_store_const", "bad_store_past_end", "bad_store_meta"])
def test_04_stores_are_bounded(program: str) -> None:
    opened = kit.open_ops((), "bad", f"ops_{program}")
    try:
        with pytest.raises(LibbpfError):
            opened.load()
    finally:
        opened.close()


@pytest.mark.skipif(
    not kit.served(OPS["dir_fsync"]), reason="this kernel takes no programs for dir_fsync"
)
def test_05_dir_fsync_has_its_own_filters(lower: Path, mnt: Path) -> None:
    for member, code in (("dir_fsync_prefilter", errno.EDOM), ("fsync_prefilter", 0)):
        with hookkit.hooked(lower, mnt, member) as hooks:
            hooks.steer(member, verdict=-errno.EDOM)
            fd = os.open(mnt / "dir", os.O_RDONLY)
            assert code_of(lambda: os.fsync(fd)) == code  # noqa: B023
            os.close(fd)


@pytest.mark.parametrize("member", ["mkdir_prefilter", "mkdir_postfilter"])
def test_06_half_a_pair_is_enough(lower: Path, mnt: Path, member: str) -> None:
    with hookkit.hooked(lower, mnt, member) as hooks:
        hooks.steer(member, verdict=kit.POSTFILTER)
        os.mkdir(mnt / "made")
        assert hooks.look(member).count == 1


def test_07_release_is_called_for_files(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "release_prefilter", "releasedir_prefilter") as hooks:
        (mnt / "file").read_text()
        assert hooks.look("release_prefilter").count == 1
        assert hooks.look("releasedir_prefilter").count == 0
        os.listdir(mnt / "dir")
        assert hooks.look("release_prefilter").count == 1
        assert hooks.look("releasedir_prefilter").count == 1


def test_08_an_open_for_a_daemon_leaves_no_file(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "open_prefilter", "release_prefilter") as hooks:
        hooks.steer("open_prefilter", verdict=kit.USER)
        assert code_of((mnt / "file").read_text) == errno.ECONNREFUSED
        assert hooks.look("release_prefilter").count == 0


def test_09_operations_without_outputs_can_ask_for_a_daemon(lower: Path, mnt: Path) -> None:
    calls = {
        "unlink": lambda: os.unlink(mnt / "file"),
        "rmdir": lambda: os.rmdir(mnt / "dir/sub"),
        "statfs": lambda: os.statvfs(mnt),
        "rename2": lambda: kit.exchange(mnt / "file", mnt / "dir"),
        "symlink": lambda: os.symlink("x", mnt / "made"),
    }
    if kit.served(OPS["rename"]):
        calls["rename"] = lambda: os.rename(mnt / "file", mnt / "new")
    with hookkit.hooked(lower, mnt, *(f"{op}_prefilter" for op in calls)) as hooks:
        for verdict in (kit.USER_PREFILTER, kit.USER_POSTFILTER):
            for op, call in calls.items():
                hooks.steer(f"{op}_prefilter", verdict=verdict)
                assert code_of(call) == errno.ECONNREFUSED
    assert (lower / "file").exists()
    assert (lower / "dir/sub").exists()


def test_10_a_failed_getxattr_has_no_size(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "getxattr_postfilter", "setxattr_postfilter") as hooks:
        assert code_of(lambda: os.getxattr(mnt / "file", "user.none")) == errno.ENODATA
        assert hooks.look("getxattr_postfilter").len[1] == 0
        assert hooks.field("getxattr_postfilter", "getxattr_out.size") == 0
        hooks.steer("setxattr_postfilter", verdict=kit.USER_POSTFILTER)
        call = os.setxattr
        assert code_of(lambda: call(mnt / "file", "user.x", b"y")) == errno.ECONNREFUSED


def test_11_the_result_of_a_read_can_change(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "read_iter_postfilter") as hooks:
        hooks.steer("read_iter_postfilter", read_iter_out__ret=4)
        with open(mnt / "file", "rb", buffering=0) as file:
            assert file.read(8) == b"cont"
            assert file.read(8) == b"ent\n"
            assert hooks.field("read_iter_postfilter", "read_iter_out.ret") == 4


def test_12_a_failure_leaves_position_and_inode(lower: Path, mnt: Path) -> None:
    members = ("lseek_postfilter", "getattr_postfilter")
    with hookkit.hooked(lower, mnt, *members) as hooks:
        fd = os.open(mnt / "file", os.O_RDONLY)
        os.lseek(fd, 3, os.SEEK_SET)
        assert code_of(lambda: os.lseek(fd, 100, os.SEEK_DATA)) == errno.ENXIO
        assert hooks.look("lseek_postfilter").error_in == -errno.ENXIO
        assert os.lseek(fd, 0, os.SEEK_CUR) == 3
        hooks.steer("lseek_postfilter", lseek_out__offset=-5)
        assert code_of(lambda: os.lseek(fd, 1, os.SEEK_SET)) == errno.EINVAL
        hooks.steer("lseek_postfilter")
        assert os.lseek(fd, 0, os.SEEK_CUR) == 3
        hooks.steer("getattr_postfilter", verdict=-errno.EIO)
        assert code_of(lambda: os.fstat(fd)) == errno.EIO
        hooks.steer("getattr_postfilter")
        assert os.fstat(fd).st_size == 8
        assert os.read(fd, 8) == b"tent\n"
        os.close(fd)


def test_13_new_objects_have_inodes_of_their_own(lower: Path, mnt: Path) -> None:
    members = [f"{op}_prefilter" for op in ("mkdir", "mknod", "symlink", "link")]
    with hookkit.hooked(lower, mnt, *members):
        fd = os.open(mnt, os.O_RDONLY | os.O_DIRECTORY)
        os.mkdir("d", dir_fd=fd)
        os.mkfifo("p", dir_fd=fd)
        os.symlink("x", "s", dir_fd=fd)
        os.link("file", "h", src_dir_fd=fd, dst_dir_fd=fd)
        kinds = [stat.S_IFMT(os.lstat(mnt / name).st_mode) for name in ("d", "p", "s", "h")]
        assert kinds == [stat.S_IFDIR, stat.S_IFIFO, stat.S_IFLNK, stat.S_IFREG]
        numbers = {os.lstat(mnt / name).st_ino for name in ("d", "p", "s", "h", "")}
        assert len(numbers) == 5
        os.close(fd)


def test_14_a_refused_rename_leaves_no_lock(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "rename2_prefilter"):
        for _ in range(3):
            assert code_of(lambda: os.rename(mnt / "dir", mnt / "dir/sub/in")) == errno.EINVAL
            assert code_of(lambda: os.rename(mnt / "dir/sub", mnt / "dir")) == errno.ENOTEMPTY
        os.rename(lower / "dir/sub", lower / "sub")
        os.rename(mnt / "dir", mnt / "sub/dir")
    assert (lower / "sub/dir").is_dir()


def test_15_a_refused_creation_leaves_no_lock(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "create_open_prefilter", "create_open_postfilter") as hooks:
        for hook in ("create_open_prefilter", "create_open_postfilter"):
            hooks.steer(hook, verdict=-errno.EDOM)
            assert code_of(lambda: os.open(mnt / "new", os.O_CREAT | os.O_RDWR)) == errno.EDOM
            hooks.steer(hook, verdict=kit.POSTFILTER)
        (lower / "below").write_text("x")
        (mnt / "above").write_text("x")


def test_18_a_name_without_end_is_refused() -> None:
    with pytest.raises(LibbpfError) as caught:
        kit.Filters((), "x" * 15)
    assert caught.value.errno == errno.EINVAL


def test_19_device_numbers_keep_their_bits(lower: Path, mnt: Path) -> None:
    number = os.makedev(259, 70000)
    with hookkit.hooked(lower, mnt, "mknod_prefilter", "lookup_postfilter", "getattr_postfilter"):
        os.mknod(mnt / "dev", stat.S_IFCHR | 0o600, number)
        assert os.stat(mnt / "dev").st_rdev == number
    assert os.stat(lower / "dev").st_rdev == number


def test_20_a_file_that_cannot_be_mapped(mnt: Path) -> None:
    with hookkit.hooked(Path("/sys/kernel"), mnt, "open_prefilter"):
        for _ in range(100):
            with open(mnt / "uevent_seqnum", "rb") as file:
                code = code_of(lambda: mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ))
                assert code == errno.ENODEV
                assert file.read()


def available() -> int:
    line = next(x for x in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in x)
    return int(line.split()[1]) * 1024


def test_21_refused_operations_leak_nothing(lower: Path, mnt: Path) -> None:
    members = ("readdir_prefilter", "open_postfilter", "getxattr_postfilter", "lookup_postfilter")
    with hookkit.hooked(lower, mnt, *members) as hooks:
        hooks.steer("readdir_prefilter", verdict=kit.USER)
        hooks.steer("open_postfilter", verdict=-errno.EDOM)
        hooks.steer("getxattr_postfilter", verdict=-errno.EDOM)

        def refused() -> None:
            for _ in range(2000):
                assert code_of(lambda: os.listdir(mnt / "dir")) == errno.ECONNREFUSED
                assert code_of(lambda: os.open(mnt / "file", os.O_RDONLY)) == errno.EDOM
                assert code_of(lambda: os.getxattr(mnt / "file", "user.one")) == errno.EDOM

        refused()
        before = available()
        refused()
        # A leaked page of each listing alone would be 8 MiB, a value 128 MiB
        assert before - available() < 6 << 20


def test_22_links_in_the_middle_of_a_path(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "get_link_prefilter") as hooks:
        for _ in range(100):
            assert (mnt / "link/sub").is_dir()
        assert hooks.look("get_link_prefilter").count == 100


def test_23_access_filters_in_a_path_walk(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "access_prefilter") as hooks:
        for number in range(1, 100):
            os.stat(mnt / "dir/sub")
            assert hooks.look("access_prefilter").count == 2 * number
        hooks.steer("access_prefilter", verdict=-errno.EDOM)
        assert code_of(lambda: os.stat(mnt / "dir/sub")) == errno.EDOM


def test_27_a_failed_creation_is_an_error(lower: Path, mnt: Path) -> None:
    with hookkit.hooked(lower, mnt, "mkdir_prefilter", "link_prefilter") as hooks:
        hooks.steer("link_prefilter", name=b"dir\0")
        assert code_of(lambda: os.link(mnt / "file", mnt / "hard")) == errno.EEXIST
        assert code_of(lambda: os.mkdir(mnt / "dir")) == errno.EEXIST


def test_29_an_option_given_twice_is_refused(lower: Path) -> None:
    fd = os.open(lower, os.O_PATH)
    try:
        with FsContext(kit.form().fs_type) as context:
            context.set_string("root_dir", str(fd))
            with pytest.raises(MountError, match="twice"):
                context.set_string("root_dir", str(fd))
    finally:
        os.close(fd)
