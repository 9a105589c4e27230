# SPDX-License-Identifier: MIT
"""The builder of our own kernels, as far as it needs no kernel source and no root."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

KERNEL = Path(__file__).parents[2] / "kernel"


@pytest.fixture(scope="module")
def image() -> Iterator[Any]:
    """kernel/image.py: a script beside build.py, not part of a package."""
    sys.path.insert(0, str(KERNEL))
    try:
        yield importlib.import_module("image")
    finally:
        sys.path.remove(str(KERNEL))
        for name in ("image", "build"):
            sys.modules.pop(name, None)


def test_an_option_that_got_lost_is_named(image: Any, tmp_path: Path) -> None:
    base, more = tmp_path / "base", tmp_path / "more"
    base.write_text('CONFIG_A=y\nCONFIG_NAME="x"\nCONFIG_OFF=y\n# words about CONFIG_Z=y\n')
    more.write_text('CONFIG_NAME="y"\n# CONFIG_OFF is not set\n')
    config = tmp_path / ".config"
    config.write_text('CONFIG_A=y\nCONFIG_NAME="y"\n')
    image.check_config(config, [base, more])
    config.write_text('CONFIG_NAME="x"\nCONFIG_OFF=y\n')
    with pytest.raises(image.BuildError) as caught:
        image.check_config(config, [base, more])
    lost = str(caught.value).splitlines()[1:]
    assert lost == ["# CONFIG_OFF is not set", "CONFIG_A=y", 'CONFIG_NAME="y"']


def test_every_input_names_another_result(
    image: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"linux-source-6.12": "6.12.1-1", "gcc": "4:14"}
    names = {name: image.input_hash(variant, versions) for name, variant in image.VARIANTS.items()}
    assert len(set(names.values())) == len(image.VARIANTS)
    variant = image.VARIANTS["plain"]
    assert image.input_hash(variant, {**versions, "gcc": "4:15"}) != names["plain"]
    assert image.input_hash(variant, {**versions, "unrelated": "1"}) == names["plain"]
    assert image.input_hash(variant, {**versions, "gcc-14": "14.2.0-19"}) != names["plain"]
    with monkeypatch.context() as patched:
        scripts = tmp_path / "scripts"
        shutil.copytree(KERNEL, scripts, ignore=shutil.ignore_patterns("__pycache__"))
        patched.setattr(image, "HERE", scripts)
        for name in ("build.py", "image.py", "support.py"):
            before = image.input_hash(variant, versions)
            (scripts / name).write_text("# changed")
            assert image.input_hash(variant, versions) != before, name
    changed = tmp_path / "guest.config"
    changed.write_text("CONFIG_OTHER=y\n")
    monkeypatch.setattr(image, "input_files", lambda variant: [changed])
    assert image.input_hash(variant, versions) != names["plain"]


def test_what_was_found_clean_is_not_looked_at_again(image: Any, tmp_path: Path) -> None:
    build = sys.modules["build"]
    source = tmp_path / "source.c"
    source.write_text("int a;\n")
    root = SimpleNamespace(kver="6.12.1")

    def inputs() -> str:
        return str(build.input_hash(root, ["sparse 1"], [source]))

    first = inputs()
    assert not build.clean_before(tmp_path, "sparse", first)
    build.note_clean(tmp_path, "sparse", first)
    assert build.clean_before(tmp_path, "sparse", inputs())
    assert not build.clean_before(tmp_path, "unset", first)
    assert build.input_hash(root, ["sparse 2"], [source]) != first
    source.write_text("int b;\n")
    assert not build.clean_before(tmp_path, "sparse", inputs())


def test_a_plain_kernel_has_nothing_of_ours(image: Any) -> None:
    files = {path.name for path in image.input_files(image.VARIANTS["plain"])}
    assert files == {"guest.config"}
    files = {path.name for path in image.input_files(image.VARIANTS["debug"])}
    assert {"debug.config", "fuse-bpf.config", "bpf_dynptr.c", "0002-bpf.patch"} <= files
    assert "0001-coexist.patch" not in files
    assert "include/linux/bpf.h" in image.files_patched()
    assert "fs/fuse/control.c" not in image.files_patched()


def test_a_file_that_left_the_tree_is_noticed(
    image: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, ours = tmp_path / "top", tmp_path / "ours"
    (top / "fs/fuse").mkdir(parents=True)
    (top / "fs/fuse/inode.c").write_text("old\n")
    monkeypatch.setattr(image, "files_patched", lambda: ["fs/fuse/inode.c"])

    def add(fresh: Path, series: str, form: str) -> None:
        assert (series, form) == ("6.12", "tree")
        (fresh / "fs/fuse/Kbuild").write_text("")
        for name in added:
            (fresh / "fs/fuse" / name).write_text(name)

    monkeypatch.setattr(image, "add_ours", add)
    added = ["a.c", "b.c"]
    assert not image.assemble(top, ours, image.VARIANTS["patched"])
    assert {path.name for path in (ours / "fs/fuse").iterdir()} == {"inode.c", "a.c", "b.c"}
    before = (ours / "fs/fuse/a.c").stat().st_mtime_ns
    added = ["a.c"]
    assert image.assemble(top, ours, image.VARIANTS["patched"])
    assert (ours / "fs/fuse/a.c").stat().st_mtime_ns == before
    assert not (ours / "fs/fuse/b.c").exists()


def test_missing_packages_are_named(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(
        "Package: gcc\nStatus: install ok installed\nVersion: 4:14\n\n"
    )
    command = [sys.executable, str(KERNEL / "image.py"), "patched", "--root", str(tmp_path)]
    done = subprocess.run(
        [*command, "--cache", str(tmp_path / "cache")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "apt-get install linux-source-6.12 bc bison ccache" in done.stderr
    assert not (tmp_path / "cache").exists()
