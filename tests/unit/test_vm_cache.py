# SPDX-License-Identifier: MIT
"""The VM runner's cache: what is made once, what is one's own, what goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusebpf.vm import cache
from fusebpf.vm.errors import PrepareError


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


def test_gc_removes_what_is_not_current(own_cache: Path) -> None:
    kept = ("root-other-2", "objects", "kernel/work", "bytecode-root-new-0")
    for name in (
        *kept,
        "bytecode-root-old-0",
        "root-old",
        "root-other-1",
        "boot-1-x",
        "box-stock-x",
        "disk-old",
        "kernel/0a",
    ):
        (own_cache / name).mkdir(parents=True)
    (own_cache / "kernel/0a/vmlinux").touch()
    (own_cache / "box-stock.log").touch()
    removed = cache.remove_unused("root-new", "root-other-2", "root-none")
    gone = ["0a", "boot-1-x", "box-stock-x", "bytecode-root-old-0", "disk-old", "root-old"]
    gone.append("root-other-1")
    assert sorted(path.name for path in removed) == gone
    assert all((own_cache / name).is_dir() for name in kept)


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
            cache.remove_unused("root-new")
    made = cache.entry("root-old", lambda work: (work / "usr").mkdir())
    assert (made / "usr").is_dir()
    assert [path.name for path in own_cache.glob("root-*")] == ["root-old"]
    # What nobody makes again is removed by the next one, but what is being made stays.
    for name in ("root-older", "root-now"):
        (own_cache / f"{name}.tmp-7").mkdir()
    with cache.locked("root-now"):
        removed = cache.remove_unused("root-new", "root-old")
    assert [path.name for path in removed] == ["root-older.tmp-7"]
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
