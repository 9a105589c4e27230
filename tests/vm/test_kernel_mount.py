# SPDX-License-Identifier: MIT
"""Mounting, holding, replacing and tearing away filters."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
from pathlib import Path

import pytest

from fusebpf.runtime import features, mountinfo, sysbpf
from fusebpf.runtime.fsmount import FsContext, MountError, move_mount, umount
from fusebpf.runtime.libbpf import LibbpfError
from tests.vm import kernelkit as kit
from tests.vm.limits import eventually

BPF_LINK_IDS = sysbpf.LINK_GET_NEXT_ID
BPF_MAP_IDS = sysbpf.MAP_GET_NEXT_ID


@pytest.fixture
def lower(lower: Path) -> Path:
    (lower / "hidden").write_text("secret\n")
    return lower


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def refuse(*options: tuple[str, str | None]) -> MountError:
    """The error that a set of options gives, made one after another."""
    with pytest.raises(MountError) as caught:
        _configure(options)
    return caught.value


def _configure(options: tuple[tuple[str, str | None], ...]) -> None:
    with FsContext(kit.form().fs_type) as context:
        for key, value in options:
            if value is None:
                context.set_flag(key)
            else:
                context.set_string(key, value)
        os.close(context.mount())


def test_each_bad_option_is_named(lower: Path, tmp_path: Path) -> None:
    root = os.open(lower, os.O_PATH)
    plain = os.open(lower / "file", os.O_RDONLY)
    device = os.open(features.device(), os.O_RDWR)
    good = ("root_dir", str(root))
    cases = [
        (((good), ("no_daemon", None), good), errno.EINVAL, "root_dir"),
        ((("root_dir", "9999"),), errno.EINVAL, "root_dir"),
        ((("root_dir", str(plain)),), errno.ENOTDIR, "root_dir"),
        ((("no_daemon", None),), errno.EINVAL, "root_dir"),
        ((good,), errno.EINVAL, "no_daemon"),
        ((good, ("no_daemon", None), ("fd", str(device))), errno.EINVAL, "no_daemon"),
        ((good, ("root_bpf", "nosuchset")), errno.EINVAL, "root_bpf"),
        ((good, ("root_bpf", "fifteen.letters")), errno.EINVAL, "root_bpf"),
        ((good, ("root_bpf_link", "9999")), errno.EINVAL, "root_bpf_link"),
        ((good, ("root_bpf_link", str(plain))), errno.EINVAL, "root_bpf_link"),
        ((good, ("creds", "nobody")), errno.EINVAL, "creds"),
        ((good, ("creds", "caller"), ("creds", "caller")), errno.EINVAL, "creds"),
        ((("no_such_option", None),), errno.EINVAL, "no_such_option"),
    ]
    for options, code, word in cases:
        error = refuse(*options)
        assert error.errno == code, options
        assert word in " ".join(error.log), (options, error.log)
    with kit.filters("open_prefilter") as f:
        name = ("root_bpf", f.name)
        assert "twice" in " ".join(refuse(good, name, name).log)
        assert "twice" in " ".join(refuse(good, ("root_bpf_link", str(f.link.fd)), name).log)
    for fd in (root, plain, device):
        os.close(fd)


def test_options_are_shown(lower: Path, mnt: Path) -> None:
    name = "shown.options"
    with (
        kit.filters("lookup_prefilter", name=name) as f,
        kit.mounted(lower, mnt, root_bpf=name, creds="caller"),
    ):
        shown = kit.options_of(mnt)
        assert f"root_bpf={name}" in shown
        assert f"link_id={f.link.id}" in shown
        assert "creds=caller" in shown
        assert "dead" not in shown
        entry = mountinfo.at(mnt)
        assert entry is not None
        assert entry.is_fuse_bpf
    with kit.mounted(lower, mnt):
        assert kit.options_of(mnt) == ["rw", "no_daemon"]


def test_mount_on_itself_and_twice(lower: Path, mnt: Path) -> None:
    with kit.mounted(lower, lower):
        assert (lower / "file").read_text() == "content\n"
        with pytest.raises(MountError) as caught:
            kit.make_mount(lower, mnt)
        assert caught.value.errno == errno.ELOOP
    with kit.mounted(lower, mnt), kit.mounted(lower, mnt):
        assert (mnt / "file").read_text() == "content\n"


def test_stack_depth(lower: Path, mnt: Path, tmp_path: Path) -> None:
    """On overlayfs it works, on two of them it is too deep; overlayfs works on it."""
    for name in ("one", "two", "work", "upper", "merged"):
        (tmp_path / name).mkdir()
    one, two = tmp_path / "one", tmp_path / "two"
    run("mount", "-t", "overlay", "-o", f"lowerdir={lower}:{two}", "o", one)
    try:
        with kit.mounted(one, mnt):
            assert (mnt / "file").read_text() == "content\n"
        run("mount", "-t", "overlay", "-o", f"lowerdir={one}:{lower}", "o", two)
        try:
            with pytest.raises(MountError) as caught:
                kit.make_mount(two, mnt)
            assert "stacked" in " ".join(caught.value.log)
        finally:
            umount(two)
    finally:
        umount(one)
    with kit.mounted(lower, mnt):
        layers = f"lowerdir={mnt},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        run("mount", "-t", "overlay", "-o", layers, "o", tmp_path / "merged")
        try:
            (tmp_path / "merged/file").write_text("changed\n")
            assert (mnt / "file").read_text() == "content\n"
        finally:
            umount(tmp_path / "merged")


def test_lower_mount_flags_bind_ours(lower: Path, mnt: Path, tmp_path: Path) -> None:
    bound = tmp_path / "bound"
    bound.mkdir()
    (lower / "prog").write_text("#!/bin/sh\nexit 0\n")
    (lower / "prog").chmod(0o4755)
    os.mknod(lower / "null", 0o20666, os.makedev(1, 3))
    run("mount", "--bind", lower, bound)
    try:
        run("mount", "-o", "remount,bind,ro,nodev,noexec,nosuid", bound)
        with kit.mounted(bound, mnt):
            assert kit.options_of(mnt)[0] == "ro"
            with pytest.raises(OSError) as caught:
                (mnt / "new").write_text("x")
            assert caught.value.errno == errno.EROFS
            with pytest.raises(OSError) as caught:
                subprocess.run([mnt / "prog"], check=False)
            assert caught.value.errno == errno.EACCES
            with pytest.raises(OSError) as caught:
                os.open(mnt / "null", os.O_RDWR)
            assert caught.value.errno == errno.EACCES

            remount = subprocess.run(["mount", "-o", "remount,rw", mnt], check=False)
            assert remount.returncode != 0
    finally:
        umount(bound)


def test_mounts_below_are_not_crossed(lower: Path, mnt: Path) -> None:
    run("mount", "-t", "tmpfs", "none", lower / "dir")
    try:
        (lower / "dir/above").write_text("x")
        with kit.mounted(lower, mnt):
            assert os.listdir(mnt / "dir") == []
    finally:
        umount(lower / "dir")


@pytest.mark.skipif(kit.form().in_kernel, reason="fuse-bpf is built into this kernel")
def test_module_stays_while_it_is_used_and_no_longer(lower: Path, mnt: Path) -> None:
    with kit.mounted(lower, mnt):
        assert subprocess.run(["rmmod", "fusebpf"], check=False).returncode != 0
    with kit.filters("open_prefilter"):
        assert subprocess.run(["rmmod", "fusebpf"], check=False).returncode != 0
    used = Path("/sys/module/fusebpf/refcnt")
    assert eventually(lambda: used.read_text() == "0\n"), f"used by {used.read_text()}"


def test_same_name_twice(lower: Path) -> None:
    with kit.filters("open_prefilter", name="one.name"), pytest.raises(LibbpfError) as caught:
        kit.Filters(("open_prefilter",), "one.name")
    assert caught.value.errno == errno.EEXIST
    assert eventually(lambda: not _is_taken("one.name"))


def _is_taken(name: str) -> bool:
    try:
        kit.Filters(("open_prefilter",), name).close()
    except LibbpfError:
        return True
    return False


@pytest.mark.parametrize("name", ["", "with/slash", "fifteen.letters", "ümlaut"])
def test_bad_names_are_refused(name: str) -> None:
    opened = kit.open_ops(("open_prefilter",), name)
    try:
        opened.load()
        with pytest.raises(LibbpfError) as caught:
            opened.maps["ops"].attach_struct_ops()
        assert caught.value.errno == errno.EINVAL
    finally:
        opened.close()


def test_mount_holds_its_filters(lower: Path, mnt: Path) -> None:
    f = kit.Filters(("lookup_prefilter",))
    f.set(hide=1)
    link_id = f.link.id
    kit.make_mount(lower, mnt, root_bpf_link=f.link.fd)
    f.link.close()
    assert link_id in sysbpf.ids(BPF_LINK_IDS)
    assert not (mnt / "hidden").exists()
    f.object.close()
    assert not (mnt / "hidden").exists()
    umount(mnt)
    assert eventually(lambda: link_id not in sysbpf.ids(BPF_LINK_IDS))


def test_forced_detach_closes(lower: Path, mnt: Path) -> None:
    """What a filter covered fails, what none covered goes on, also with files open."""
    with kit.filtered(lower, mnt, "lookup_prefilter", "readdir_prefilter") as f:
        f.set(hide=1)
        fd = os.open(mnt / "file", os.O_RDONLY)
        listing = os.open(mnt, os.O_RDONLY | os.O_DIRECTORY)
        sysbpf.link_detach(f.link.fd)
        assert "dead" in kit.options_of(mnt)
        for call in (
            lambda: os.stat(mnt / "file"),
            lambda: os.stat(mnt / "hidden"),
            lambda: os.listdir(listing),
            lambda: os.open(mnt / "new", os.O_CREAT | os.O_RDWR),
            lambda: os.unlink(mnt / "file"),
        ):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.EIO
        assert os.pread(fd, 7, 0) == b"content"
        os.close(fd)
        os.close(listing)
        with pytest.raises(MountError):  # nobody else gets it under that name
            kit.make_mount(lower, mnt, root_bpf=f.name)
    assert (lower / "file").exists()


def test_forced_detach_of_open_filters(lower: Path, mnt: Path) -> None:
    with kit.filtered(lower, mnt, "open_prefilter", "release_prefilter") as f:
        fd = os.open(mnt / "file", os.O_RDONLY)
        sysbpf.link_detach(f.link.fd)
        with pytest.raises(OSError) as caught:
            os.open(mnt / "file", os.O_RDONLY)
        assert caught.value.errno == errno.EIO
        assert os.stat(mnt / "file").st_size == 8  # no lookup filter
        os.close(fd)
        assert f.count("release_pre") == 0


def test_update_replaces_at_once(lower: Path, mnt: Path) -> None:
    with kit.filtered(lower, mnt, "lookup_prefilter") as f:
        f.set(hide=1)
        assert not (mnt / "hidden").exists()
        second = kit.open_ops(("open_prefilter",), f.name)
        third = kit.open_ops(("open_prefilter",), "another")
        try:
            third.load()
            assert kit.link_update(f, third) == -errno.EINVAL
            assert not (mnt / "hidden").exists()
            second.load()
            assert kit.link_update(f, second) == 0
            assert (mnt / "hidden").read_text() == "secret\n"
            counts = second.maps["counts"].fd
            key = struct.pack("=I", kit.CONFIG["SLOT_OPEN_PRE"])
            assert sysbpf.map_lookup(counts, key, 8) == struct.pack("=q", 1)
            before = f.count("lookup_pre")
            os.stat(mnt / "file")
            assert f.count("lookup_pre") == before
        finally:
            second.close()
            third.close()
        sysbpf.link_detach(f.link.fd)
        with pytest.raises(OSError) as caught:
            (mnt / "file").read_text()
        assert caught.value.errno == errno.EIO


def test_lazy_umount_with_open_files(lower: Path, mnt: Path) -> None:
    f = kit.Filters(("lookup_prefilter", "open_prefilter", "release_prefilter"))
    f.set(hide=1)
    kit.make_mount(lower, mnt, root_bpf_link=f.link.fd)
    fd = os.open(mnt / "file", os.O_RDWR)
    directory = os.open(mnt, os.O_RDONLY | os.O_DIRECTORY)
    mapped = kit.map_alone(fd, 8)
    with pytest.raises(OSError) as caught:
        umount(mnt)
    assert caught.value.errno == errno.EBUSY
    umount(mnt, lazy=True)
    f.link.close()
    assert os.pread(fd, 7, 0) == b"content"
    with pytest.raises(OSError) as caught:
        os.open("hidden", os.O_RDONLY, dir_fd=directory)
    assert caught.value.errno == errno.ENOENT
    os.close(directory)
    os.close(fd)
    assert eventually(lambda: f.count("release_pre") == 1)
    mapped[0:7] = b"CONTENT"  # a mapping holds the lower file alone
    mapped.close()
    assert (lower / "file").read_text() == "CONTENT\n"
    f.object.close()


def test_200_cycles_leave_nothing(lower: Path, mnt: Path) -> None:
    """Attach, mount, use, umount: ids and inodes come back to where they were."""

    opened = kit.open_ops(("lookup_prefilter", "open_prefilter"), "cycles")
    opened.load()

    def cycle() -> None:
        with kit.registered_again(opened.maps["ops"]) as link:
            kit.make_mount(lower, mnt, root_bpf_link=link.fd)
        assert (mnt / "file").read_text() == "content\n"
        umount(mnt)

    def state() -> tuple[int, int, dict[str, int]]:
        return (
            len(list(sysbpf.ids(BPF_LINK_IDS))),
            len(list(sysbpf.ids(BPF_MAP_IDS))),
            kit.slab_objects(),
        )

    cycle()
    assert eventually(lambda: state()[0] == 0)
    before = state()
    for _ in range(200):
        cycle()

    def settled() -> bool:
        links, maps, slabs = state()
        return links == before[0] and maps <= before[1] and slabs["inode"] <= 8

    assert eventually(settled), (before, state())
    opened.close()


def test_classic_fuse_still_mounts(mnt: Path) -> None:
    """A mount with a daemon's descriptor is plain FUSE: INIT reaches the daemon."""
    device = features.device()
    fd = os.open(device, os.O_RDWR)
    try:
        with FsContext(kit.form().fs_type) as context:
            for key, value in (("fd", str(fd)), ("rootmode", "40000")):
                context.set_string(key, value)
            context.set_string("user_id", "0")
            context.set_string("group_id", "0")
            mount = context.mount()
        move_mount(mount, mnt)
        os.close(mount)
        request = os.read(fd, 1 << 16)
        assert struct.unpack_from("=II", request)[1] == 26  # FUSE_INIT
        umount(mnt, lazy=True)
    finally:
        os.close(fd)


def test_on_a_network_like_file_system(mnt: Path) -> None:
    """The tree that the guest shares over 9p has d_revalidate: it is asked."""
    source = Path(__file__).parents[2]
    with kit.filtered(source, mnt, "lookup_prefilter", "readdir_postfilter"):
        assert sorted(os.listdir(mnt)) == sorted(os.listdir(source))
        assert (mnt / "kernel/build.py").read_bytes() == (source / "kernel/build.py").read_bytes()
        with pytest.raises(FileNotFoundError):
            os.stat(mnt / "no such file")
    with kit.mounted(source, mnt):
        assert (mnt / "kernel/build.py").stat().st_size == (
            source / "kernel/build.py"
        ).stat().st_size
