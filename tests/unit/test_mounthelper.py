# SPDX-License-Identifier: MIT
"""`mount.fuse_bpf` understands what mount(8) says, and refuses the rest with the way out."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from fusebpf import mounthelper
from fusebpf.errors import FusebpfError, UsageError
from fusebpf.mounthelper import main, parse, trusted
from fusebpf.mountoptions import parse_options
from fusebpf.runtime import features, fsmount, mountinfo, mounts, replacing
from fusebpf.runtime.signals import uninterrupted

# linux/mount.h
RDONLY, NOSUID, NODEV, NOEXEC, ATIME, NOATIME, NODIRATIME = 1, 2, 4, 8, 0x70, 0x10, 0x80
PLAIN = RDONLY | NOSUID | NODEV | NOEXEC | 0x200000


def test_a_line_of_fstab() -> None:
    """What mount(8) makes of `/srv /mnt fuse_bpf filter=/etc/x.bpf.o,ro,nosuid,nofail 0 0`."""
    call = parse(["/srv", "/mnt", "-s", "-v", "-o", "ro,nosuid,nofail,filter=/etc/x.bpf.o"])
    assert (call.lower, call.mountpoint) == ("/srv", "/mnt")
    assert (call.fake, call.verbose) == (False, True)
    assert call.options.filter == "/etc/x.bpf.o"
    assert call.options.attributes == RDONLY | NOSUID
    assert not call.options.remount


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "ro,filter=/f", "/srv", "/mnt"],
        ["/srv", "-oro,filter=/f", "/mnt"],
        ["/srv", "/mnt", "-o", "ro", "-o", "filter=/f"],
        ["/srv", "/mnt", "-no", "ro,filter=/f"],
        ["/srv", "/mnt", "-t", "fuse_bpf", "-o", "ro,filter=/f"],
    ],
)
def test_arguments_come_in_any_order(arguments: list[str]) -> None:
    call = parse(arguments)
    assert (call.lower, call.mountpoint, call.options.filter) == ("/srv", "/mnt", "/f")
    assert call.options.attributes == RDONLY


@pytest.mark.parametrize(
    ("text", "attributes", "clear"),
    [
        ("rw", 0, RDONLY),
        ("ro,nosuid,nodev,noexec", RDONLY | NOSUID | NODEV | NOEXEC, 15),
        ("ro,rw", 0, RDONLY),
        ("nosuid,suid,nodev", NODEV, NOSUID | NODEV),
        ("noatime", NOATIME, ATIME),
        ("noatime,relatime", 0, ATIME),
        ("ro,remount", RDONLY, PLAIN),
        ("remount", 0, PLAIN),
        ("remount,noatime,nodev", NODEV | NOATIME, PLAIN | ATIME | NODIRATIME),
        ("defaults,nofail,_netdev,x-systemd.automount,user,loud", 0, 0),
        ("", 0, 0),
    ],
)
def test_attributes_are_those_of_mount_setattr(text: str, attributes: int, clear: int) -> None:
    options = parse_options(text)
    assert (options.attributes, options.clear) == (attributes, clear)


def test_of_an_option_given_twice_the_later_counts() -> None:
    options = parse_options("filter=/a,set=limit=1,set=low=2,remount,filter=/b,set=limit=3")
    assert (options.filter, options.remount) == ("/b", True)
    assert options.settings == {"limit": "3", "low": "2"}


@pytest.mark.parametrize(
    ("text", "said", "mended"),
    [
        ("filtr=/etc/very/long/path.bpf.o", "unknown mount option 'filtr=", "'filter='?"),
        ("filters=/f", "unknown mount option 'filters=/f'", "'filter='?"),
        ("no_suid", "unknown mount option 'no_suid'", "'nosuid'?"),
        ("remont", "unknown mount option 'remont'", "'remount'?"),
        ("ro=1", "unknown mount option 'ro=1'", "mounting.md|'ro'"),
        ("allow_other", "unknown mount option 'allow_other'", "docs/mounting.md"),
        ("filter=", "filter= has no value", "filter=/etc/fusebpf/X.bpf.o"),
        ("filter", "filter= has no value", "filter=/etc/fusebpf/X.bpf.o"),
        ("set=limit", "set=limit is no set=NAME=VALUE", "set=limit=20"),
        ("set=", "set= is no set=NAME=VALUE", "set=limit=20"),
    ],
)
def test_option_is_refused(text: str, said: str, mended: str) -> None:
    with pytest.raises(UsageError, match=f"{said}(?s:.*)help: .*({mended})"):
        parse_options(text)


def test_sloppy_lets_unknown_options_pass_but_no_wrong_ones() -> None:
    assert parse(["-s", "/a", "/b", "-o", "allow_other,filter=/f"]).options.filter == "/f"
    with pytest.raises(UsageError, match="has no value"):
        parse(["-s", "/a", "/b", "-o", "filter="])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a lower directory and a mount point are needed"),
        (["/srv"], "a lower directory and a mount point are needed"),
        (["/srv", "/mnt", "/more"], "a lower directory and a mount point are needed"),
        (["/srv", "/mnt", "-o"], "option -o needs a value"),
        (["/srv", "/mnt", "-x"], "unknown option -x"),
        (["/srv", "/mnt", "-N", "/proc/1/ns/mnt"], "nsenter"),
    ],
)
def test_wrong_use_has_the_status_of_mount(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mount.fuse_bpf: ")
    assert said in err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: mount.fuse_bpf LOWER MOUNTPOINT ")


def test_only_root_mounts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["/srv", "/mnt", "-o", "filter=/f"]) == 1
    assert "mounting needs root" in capsys.readouterr().err


def test_filters_are_named_by_path_or_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"has no directory(?s:.*)filter=x$"):
        trusted("x.bpf.o")
    with pytest.raises(UsageError, match="no absolute path"):
        trusted("etc/x.bpf.o")
    with pytest.raises(FusebpfError, match=f"{tmp_path}/absent.o: No such file"):
        trusted(f"{tmp_path}/absent.o")
    (tmp_path / "guard.bpf.o").write_text("text")
    monkeypatch.setattr(mounthelper, "INSTALLED", (tmp_path / "none", tmp_path))
    with pytest.raises(FusebpfError, match=f"{tmp_path}/guard.bpf.o is no object"):
        trusted("guard")
    with pytest.raises(FusebpfError, match=f"{tmp_path}/none/other.bpf.o: No such file"):
        trusted("other")


def test_a_mount_runs_no_python(tmp_path: Path) -> None:
    """Whatever the file is called."""
    path = tmp_path / "filters.o"
    path.write_text("open('/nonexistent', 'w')")
    with pytest.raises(FusebpfError, match=r"is no object(?s:.*)help: compile the filter file"):
        trusted(str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="the files must be root's")
def test_filters_that_others_can_change_are_not_trusted(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir(mode=0o755)
    path = directory / "x.bpf.o"
    path.write_bytes(b"\x7fELF")
    path.chmod(0o644)
    assert trusted(str(path)) == path
    path.chmod(0o664)
    with pytest.raises(FusebpfError, match=f"{path} can be changed by others than root"):
        trusted(str(path))
    path.chmod(0o644)
    directory.chmod(0o777)
    with pytest.raises(FusebpfError, match=f"{directory} can be changed"):
        trusted(str(path))
    directory.chmod(0o1777)  # others cannot rename or remove it there, as in /tmp
    assert trusted(str(path)) == path
    path.chmod(0o1666)  # on a file it means nothing
    with pytest.raises(FusebpfError, match=f"{path} can be changed"):
        trusted(str(path))
    path.chmod(0o644)
    os.chown(path, 1, 1)
    with pytest.raises(FusebpfError, match=f"chown root {path}"):
        trusted(str(path))
    os.chown(path, 0, 0)
    # A link in a directory of others could lead elsewhere tomorrow.
    links = tmp_path / "links"
    links.mkdir(mode=0o755)
    (links / "x.bpf.o").symlink_to(path)
    assert trusted(f"{links}/x.bpf.o") == path
    os.chown(links / "x.bpf.o", 1, 1, follow_symlinks=False)  # the owner may have it in /tmp, too
    with pytest.raises(FusebpfError, match=f"{links}/x.bpf.o can be changed"):
        trusted(f"{links}/x.bpf.o")
    os.chown(links / "x.bpf.o", 0, 0, follow_symlinks=False)
    os.chown(links, 1, 1)
    with pytest.raises(FusebpfError, match=f"{links} can be changed"):
        trusted(f"{links}/x.bpf.o")
    # So could one in between, which leads here through a directory of others.
    others = tmp_path / "others"
    others.mkdir(mode=0o755)
    (others / "x.bpf.o").symlink_to("../d/x.bpf.o")
    os.chown(links, 0, 0)
    (links / "y.bpf.o").symlink_to(others / "x.bpf.o")
    assert trusted(f"{links}/y.bpf.o") == path
    os.chown(others, 1, 1)
    with pytest.raises(FusebpfError, match=f"{others} can be changed"):
        trusted(f"{links}/y.bpf.o")


def test_a_directory_is_no_object(tmp_path: Path) -> None:
    with pytest.raises(FusebpfError, match="is no object"):
        trusted(str(tmp_path))


def test_a_link_to_itself_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.bpf.o").symlink_to(tmp_path / "x.bpf.o")
    with pytest.raises(FusebpfError, match=f"cannot open the filters {tmp_path}/x.bpf.o"):
        trusted(f"{tmp_path}/x.bpf.o")


@pytest.fixture
def remounted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A mount at any path; what its attributes are changed to."""
    line = b"40 27 0:50 / /mnt rw,nosuid - fuse_bpf /srv rw,root_bpf=f0,link_id=1"
    changes: list[tuple[int, int]] = []
    monkeypatch.setattr(mounts, "filtered", lambda *_: (*mountinfo.parse(line), 1))
    monkeypatch.setattr(mounts, "status", lambda _path: SimpleNamespace(source_sha256="one"))
    monkeypatch.setattr(features, "require_root", lambda _what: None)
    monkeypatch.setattr(mounthelper, "trusted", Path)
    monkeypatch.setattr(
        fsmount, "set_attributes", lambda _path, value, clear: changes.append((value, clear))
    )
    return changes


REMOUNT = ["/srv", "/mnt", "-o", "remount,ro,noatime,filter=/f"]
STRICTATIME = 0x20


def test_a_remount_that_fails_gives_back_the_options_there_were(
    remounted: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(*_args: object, prepare: Callable[[object], None], **_options: object) -> None:
        assert remounted == [], "not before the filters are loaded"
        prepare(None)
        raise FusebpfError("refused")

    monkeypatch.setattr(replacing, "replace", replace)
    assert main(REMOUNT) == 32
    (change, clear), (back, again) = remounted
    assert (change, clear, clear & ATIME) == (RDONLY | NOATIME, again, ATIME)
    assert back == NOSUID | STRICTATIME


def test_filters_that_do_not_load_leave_the_options_alone(
    remounted: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(*_args: object, **_options: object) -> None:
        raise FusebpfError("refused")

    monkeypatch.setattr(replacing, "replace", replace)
    assert main(REMOUNT) == 32
    assert remounted == []


def test_the_first_error_is_told_where_the_options_cannot_be_given_back(
    remounted: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def once(_path: object, value: int, clear: int) -> None:
        if remounted:
            raise OSError(errno.EBUSY, "busy")
        remounted.append((value, clear))

    def replace(*_args: object, prepare: Callable[[object], None], **_options: object) -> None:
        prepare(None)
        raise FusebpfError("refused")

    monkeypatch.setattr(fsmount, "set_attributes", once)
    monkeypatch.setattr(replacing, "replace", replace)
    assert main(REMOUNT) == 32
    assert capsys.readouterr().err == "mount.fuse_bpf: refused\n"


def test_an_interrupt_leaves_no_half_a_remount(
    remounted: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(
        *_args: object, prepare: Callable[[object], None], **_options: object
    ) -> replacing.Replacement:
        prepare(None)
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
        return replacing.Replacement("set", (), {})

    monkeypatch.setattr(replacing, "replace", replace)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(REMOUNT) == 8
    finally:
        signal.signal(signal.SIGINT, handler)
    assert [value for value, _clear in remounted] == [RDONLY | NOATIME]


@pytest.mark.parametrize("after", ["one", "two"])
@pytest.mark.usefixtures("remounted")
def test_other_filters_than_were_in_force_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], after: str
) -> None:
    """As mount(8) adds those of fstab to a remount that names none."""
    sources = iter(["one", after])
    monkeypatch.setattr(
        mounts, "status", lambda _path: SimpleNamespace(source_sha256=next(sources))
    )
    done = replacing.Replacement("set", (), {})
    monkeypatch.setattr(replacing, "replace", lambda *_args, **_options: done)
    assert main(REMOUNT) == 0
    said = "mount.fuse_bpf: /mnt has the filters of /f now, where others were in force\n"
    assert capsys.readouterr().err == (said if after == "two" else "")


def test_a_path_of_any_bytes_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mounthelper, "run", lambda _call: None)
    assert main(["-v", "/srv", os.fsdecode(b"/mnt/\xff"), "-o", "filter=/f"]) == 0
    assert capsys.readouterr().out == "mount.fuse_bpf: /srv on /mnt/\\udcff\n"
