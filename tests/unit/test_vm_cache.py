# SPDX-License-Identifier: MIT
"""The VM runner's cache: what is made once, what is one's own, what goes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from fusebpf.vm import builder, cache, root, unused
from fusebpf.vm.errors import PrepareError
from fusebpf.vm.initramfs import BOOT_MODULES


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUSEBPF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_entry_is_built_once() -> None:
    calls = []

    def build(work: Path) -> None:
        calls.append(work)
        (work / "file").write_text("x")

    first = cache.entry("thing", build)
    assert cache.entry("thing", build) == first
    assert (first / "file").read_text() == "x"
    assert len(calls) == 1


def test_failed_build_leaves_nothing_and_killed_one_is_cleared(own_cache: Path) -> None:
    def fail(work: Path) -> None:
        (work / "half").write_text("x")
        raise PrepareError("no")

    with pytest.raises(PrepareError):
        cache.entry("thing", fail)
    assert [path.name for path in own_cache.iterdir()] == ["locks"]
    (own_cache / "thing.tmp-1").mkdir()
    cache.entry("thing", lambda work: None)
    assert sorted(path.name for path in own_cache.iterdir()) == ["locks", "thing"]


def test_digest_counts_borders() -> None:
    assert cache.digest(["ab", "c"]) != cache.digest(["a", "bc"])
    assert cache.digest(["ab", b"c"]) == cache.digest([b"ab", "c"])
    assert cache.digest([os.fsdecode(b"\xff")]) == cache.digest([b"\xff"])


def removed(*keep: Path) -> list[str]:
    """What goes, as names in the cache."""
    gone: list[Path] = []
    unused.remove_unused(set(keep), gone.append)
    return [str(path.relative_to(cache.cache_dir())) for path in gone]


def test_gc_removes_what_is_not_kept(own_cache: Path) -> None:
    keep = {
        *("root-new", "root-other-2", "disk-new", "boot-1-x", "box-stock-2"),
        *("kernel/0a", "module/6.12.1-x/00112233445566aa"),
    }
    beside = {"objects", "bytecode-root-new-0", "kernel/work", "module/6.12.1-x/work"}
    old = {
        *("root-old", "root-other-1", "disk-old", "bytecode-root-old-0", "boot-1-y", "kernel/0b"),
        *("box-stock-1", "module/6.12.1-x/00112233445566bb", "module/6.12.0-x/work"),
        *("module/6.12.0-x/clean", "module/6.12.0-x/00112233445566aa"),
    }
    for name in sorted(keep | beside | old | {"box-stock-3", "box-patched-1"}):
        (own_cache / name).mkdir(parents=True)
    for name in ("kernel/0a/vmlinux", "kernel/0b/vmlinux"):
        (own_cache / name).touch()
    for name in ("kernel/work/lock", "module/6.12.1-x/work/lock", "module/6.12.0-x/work/lock"):
        (own_cache / name).touch()
    for name in ("root-new.log", "root-old.log", "box-stock.log", "box-none.log"):
        (own_cache / name).touch()
    # Its time does not count, but of boxes the newest stay, for other trees.
    for name in ("root-new", "box-stock-2", "box-stock-1"):
        os.utime(own_cache / name, (1, 1))
    gone = removed(*(own_cache / name for name in keep))
    assert set(gone) == {*old, "root-old.log", "box-none.log"}
    left = {*keep, *beside, "box-stock-3", "box-patched-1", "root-new.log", "box-stock.log"}
    assert all((own_cache / name).exists() for name in left)
    assert not any((own_cache / name).exists() for name in gone)
    assert not (own_cache / "module/6.12.0-x").exists()
    # Without a kernel nothing is to be built upon what building others left.
    assert {"kernel/0a", "kernel/work"} <= set(removed())


def test_gc_leaves_what_is_in_use_and_waits_for_nobody(own_cache: Path) -> None:
    names = ("root-old", "disk-old", "boot-1-y", "kernel/0b", "kernel/work")
    for name in (*names, "root-older", "disk-older"):
        (own_cache / name).mkdir(parents=True)
    (own_cache / "kernel/0b/vmlinux").touch()
    (own_cache / "kernel/work/lock").touch()
    with (
        cache.using(own_cache / "boot-1-y", own_cache / "kernel/0b", Path("/not/of/the/cache")),
        cache.own_directory("bytecode-root-old"),
        (own_cache / "kernel/work/lock").open() as building,
    ):
        fcntl.flock(building, fcntl.LOCK_EX)
        assert removed() == ["root-older", "disk-older"]
        # The mark of what may be half written is still there.
        assert (own_cache / "locks/bytecode-root-old-0").read_text() == "owned\n"
    assert set(removed()) == {*names, "bytecode-root-old-0"}


def test_a_cache_behind_a_link_has_one_name(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the builders and links to boxes name is what gc finds."""
    link = own_cache.with_name("link")
    link.symlink_to(own_cache)
    monkeypatch.setenv("FUSEBPF_CACHE", str(link))
    (own_cache / "kernel/0a").mkdir(parents=True)
    (own_cache / "kernel/0a/vmlinux").touch()
    assert removed(own_cache / "kernel/0a") == []


def test_what_was_removed_is_not_used(own_cache: Path) -> None:
    with pytest.raises(PrepareError, match="removed meanwhile"), cache.using(own_cache / "boot-x"):
        pass


def test_gc_keeps_what_this_version_takes(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels and modules are the builders' to tell, which build nothing for it."""
    assert unused.used() == {root.root_path(), own_cache / root.disk_name(root.root_path())}
    guest = root.root_path()
    image = guest / "boot/vmlinuz-6.12.1-x-amd64"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"\x7fELF Linux version 6.12.1-x-amd64 (x@y)")
    modules = guest / "lib/modules/6.12.1-x-amd64"
    modules.mkdir(parents=True)
    (modules / "modules.dep").touch()
    (modules / "modules.builtin").write_text("".join(f"{name}.ko\n" for name in BOOT_MODULES))
    monkeypatch.setattr(builder, "builder_path", lambda name: tmp_path / name)
    made = own_cache / "made/vmlinux"
    made.parent.mkdir()
    made.write_bytes(b"\x7fELF Linux version 6.12.1-fusebpf (x@y)")
    (tmp_path / "image.py").write_text(
        "import sys\n"
        "assert sys.argv[-1] == '--where'\n"
        f"print({str(made)!r} if sys.argv[1] == 'patched' else '')\n"
    )
    (tmp_path / "build.py").write_text("import sys; sys.exit('there is none')")
    monkeypatch.setattr(unused, "BOXES", tmp_path / "boxes")
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes/stock").symlink_to(own_cache / "box-stock-1")
    names = {path.relative_to(own_cache).as_posix() for path in unused.used()}
    boots = sorted(name.rpartition("-")[0] for name in names if name.startswith("boot-"))
    assert boots == ["boot-6.12.1-fusebpf", "boot-6.12.1-x-amd64"]
    assert {guest.name, root.disk_name(guest), "made", "box-stock-1"} <= names
    assert len(names) == 6


def test_what_gc_began_to_remove_is_nothing_whole(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_cache / "root-old/usr").mkdir(parents=True)

    def killed(path: Path) -> None:
        (path / "usr").rmdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            removed(own_cache / "root-new")
    made = cache.entry("root-old", lambda work: (work / "usr").mkdir())
    assert (made / "usr").is_dir()
    assert [path.name for path in own_cache.glob("root-*")] == ["root-old"]
    # What nobody makes again is removed by the next one, but what is being made stays.
    for name in ("root-older", "root-now"):
        (own_cache / f"{name}.tmp-7").mkdir()
    with cache.locked("root-now"):
        assert removed(own_cache / "root-old") == ["root-older.tmp-7"]
    assert (own_cache / "root-now.tmp-7").is_dir()


def test_directory_is_ones_own_and_kept() -> None:
    with cache.own_directory("thing") as first, cache.own_directory("thing") as second:
        assert first != second
        (first / "file").write_text("x")
    with cache.own_directory("thing") as again:
        assert again == first
        assert (again / "file").read_text() == "x"


def test_what_a_failed_owner_left_is_removed() -> None:
    with pytest.raises(NotADirectoryError), cache.own_directory("thing") as path:
        (path / "file/in it").write_text((path / "file").write_text("half") * "x")
    assert [left.name for left in path.iterdir()] == ["file"]
    with cache.own_directory("thing") as again:
        assert again == path
        assert list(again.iterdir()) == []


def test_nothing_mounted_is_ever_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree/dev").mkdir(parents=True)
    (tmp_path / "tree/dev/null").write_text("")
    monkeypatch.setattr(cache, "_mounts", lambda: [Path("/"), tmp_path / "tree/dev"])
    with pytest.raises(PrepareError, match="is mounted"):
        cache.remove_tree(tmp_path / "tree")
    assert (tmp_path / "tree/dev/null").exists()
    monkeypatch.setattr(cache, "_mounts", lambda: [Path("/"), tmp_path / "tree2"])
    cache.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_mount_points_are_read_as_the_kernel_writes_them() -> None:
    assert {Path("/"), Path("/proc")} <= set(cache._mounts())
