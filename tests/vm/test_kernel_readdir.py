# SPDX-License-Identifier: MIT
"""Directory listings through a filter, with buffers of every size, on several file systems."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf.runtime.fsmount import umount
from tests.vm import kernelkit as kit

PLAIN = [f"plain{number:03}" for number in range(150)] + ["x" * 255, "y" * 200, "z"]
HIDDEN = [f"hidden{number:03}" for number in range(150)] + ["hidden" + "h" * 249]
SIZES = [24, 280, 281, 300, 512, 1000, 1024, 2048, 4095, 4096, 8192, 32768, 65536]


@pytest.fixture(params=["tmpfs", "ext4", "xfs", "overlay"])
def lower(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory of a file system of its own."""
    kind = request.param
    directory = tmp_path / "fs"
    directory.mkdir()
    if kind == "tmpfs":
        _run("mount", "-t", "tmpfs", "none", directory)
    elif kind == "overlay":
        layers = [tmp_path / name for name in ("l", "u", "w")]
        for layer in layers:
            layer.mkdir()
        options = f"lowerdir={layers[0]},upperdir={layers[1]},workdir={layers[2]}"
        _run("mount", "-t", "overlay", "-o", options, "none", directory)
    else:
        subprocess.run(["modprobe", "loop"], check=False)
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(400 << 20)
        made = subprocess.run([f"mkfs.{kind}", "-q", image], check=False, capture_output=True)
        mounted = subprocess.run(
            ["mount", "-o", "loop", image, directory], check=False, capture_output=True
        )
        if made.returncode or mounted.returncode:
            pytest.skip(f"the guest cannot make or mount {kind}")
    (directory / "d").mkdir()
    for name in (*PLAIN, *HIDDEN):
        (directory / "d" / name).touch()
    yield directory / "d"
    umount(directory)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def test_every_buffer_size(lower: Path, mnt: Path) -> None:
    """No hidden name, no other lost or doubled; a buffer too small for an entry is EINVAL."""
    wanted = sorted([*PLAIN, ".", ".."])
    with kit.filtered(lower, mnt, "readdir_prefilter", "readdir_postfilter") as f:
        f.set(readdir_pre=kit.POSTFILTER, drop=1)
        for size in SIZES:
            with kit.Dirents(mnt, size) as listing:
                if size < 280:
                    with pytest.raises(OSError) as caught:
                        listing.all()
                    assert caught.value.errno == errno.EINVAL
                else:
                    assert sorted(listing.all()) == wanted, size
        assert sorted(os.listdir(mnt)) == sorted(PLAIN)
        f.set(drop=0)
        assert sorted(os.listdir(mnt)) == sorted(PLAIN + HIDDEN)


def test_unfiltered_is_as_below(lower: Path, mnt: Path) -> None:
    with kit.mounted(lower, mnt):
        for size in SIZES:
            if size < 280:
                continue
            with kit.Dirents(mnt, size) as ours, kit.Dirents(lower, size) as theirs:
                assert ours.all() == theirs.all()


def test_a_page_that_was_emptied_is_not_the_end(lower: Path, mnt: Path) -> None:
    for name in PLAIN:
        if name != "z":
            (lower / name).unlink()
    with kit.filtered(lower, mnt, "readdir_postfilter") as f:
        f.set(drop=1)
        assert os.listdir(mnt) == ["z"]
        f.set(drop=2)
        with kit.Dirents(mnt, 4096) as listing:
            assert listing.read() == []
            assert listing.read() == []
        assert f.count("readdir_post") > 1


def test_seeking(lower: Path, mnt: Path) -> None:
    with kit.filtered(lower, mnt, "readdir_postfilter") as f:
        f.set(drop=1)
        with kit.Dirents(mnt, 600) as listing:
            parts = []
            while part := listing.read():
                parts.append(part)
            assert listing.read() == []
            flat = [entry for part in parts for entry in part]
            for index in (0, 1, 7, len(flat) // 2, len(flat) - 2):
                listing.seek(flat[index][1])
                rest = listing.all()
                assert rest == [name for name, _off in flat[index + 1 :]], index
            listing.seek(0)
            assert listing.all() == [name for name, _off in flat]


def test_removing_while_reading(lower: Path, mnt: Path) -> None:
    """rm -r's pattern: read a part, remove it, read on."""
    with kit.filtered(lower, mnt, "readdir_postfilter") as f:
        f.set(drop=1)
        seen: list[str] = []
        with kit.Dirents(mnt, 1024) as listing:
            while part := listing.read():
                for name, _off in part:
                    if name not in (".", ".."):
                        seen.append(name)
                        (mnt / name).unlink()
        assert sorted(seen) == sorted(PLAIN)
        with pytest.raises(OSError) as caught:
            mnt.parent.joinpath("mnt").rmdir()
        assert caught.value.errno == errno.EBUSY
    assert sorted(os.listdir(lower)) == sorted(HIDDEN)
