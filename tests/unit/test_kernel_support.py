# SPDX-License-Identifier: MIT
"""For which kernels the module is built, and what a user reads for every other one."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from fusebpf.build import paths

BUILD = Path(__file__).resolve().parents[2] / "kernel/build.py"
KVER = "6.12.117+deb12-amd64"
VERSION = "6.12.117-1~deb12u1"
CONFIG = (
    'CONFIG_CC_VERSION_TEXT="x86_64-linux-gnu-gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"',
    "CONFIG_FUSE_FS=m",
    "CONFIG_FUSE_PASSTHROUGH=y",
    "CONFIG_BPF_SYSCALL=y",
    "CONFIG_BPF_JIT=y",
    "CONFIG_DEBUG_INFO_BTF=y",
    "CONFIG_DEBUG_INFO_BTF_MODULES=y",
)


class MadeUpRoot:
    """A root directory with everything that is looked at; a test takes something away."""

    def __init__(self, path: Path, kver: str = KVER) -> None:
        self.path = path
        self.kver = kver
        self.versions = {
            f"linux-image-{kver}": VERSION,
            f"linux-headers-{kver}": VERSION,
            "linux-source-6.12": VERSION,
            "make": "4.3-4.1",
            "dwarves": "1.24-4.1",
        }
        self.config = list(CONFIG)
        self.headers = path / f"usr/src/linux-headers-{kver}"
        self.vmlinux = self.headers / "vmlinux"
        self.compiler = path / "usr/bin/gcc-12"
        self.source = path / "usr/src/linux-source-6.12.tar.xz"
        for directory in (self.headers, self.compiler.parent, path / f"lib/modules/{kver}"):
            directory.mkdir(parents=True)
        for file in (self.vmlinux, self.compiler):
            file.touch()

    def error(self, kver: str | None = None) -> str:
        """What the builder says about it; it must refuse."""
        status = self.path / "var/lib/dpkg/status"
        status.parent.mkdir(parents=True)
        status.write_text(
            "\n".join(
                f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n"
                for name, version in self.versions.items()
            )
        )
        if self.headers.is_dir():
            (self.headers / ".config").write_text("\n".join(self.config) + "\n")
        return refused(self.path, kver or self.kver)


def refused(root: Path, *kver: str) -> str:
    """The whole message for a root directory, with ROOT for its path."""
    command = [sys.executable, str(BUILD), "module", "--root", str(root)]
    command += ["--cache", str(root.parent / "cache")]
    if kver:
        command += ["--kver", *kver]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith("fusebpf module: ")]
    text = "\n".join(said).replace(str(root), "ROOT")
    prefix = "kernel/build.py: error: "
    assert text.startswith(prefix)
    return text.removeprefix(prefix)


@pytest.fixture
def root(tmp_path: Path) -> MadeUpRoot:
    return MadeUpRoot(tmp_path / "root")


def test_not_installed(root: MadeUpRoot) -> None:
    assert root.error("6.12.118+deb13-amd64") == (
        f"kernel 6.12.118+deb13-amd64 is not installed in ROOT (there is: {KVER}); "
        "run: chroot ROOT apt-get install linux-image-6.12.118+deb13-amd64"
    )


def test_none_installed(tmp_path: Path) -> None:
    assert refused(tmp_path) == (
        "ROOT has 0 kernels (none); run: chroot ROOT apt-get install linux-image-amd64"
    )


def test_several_installed(root: MadeUpRoot) -> None:
    (root.path / "lib/modules/6.12.115+deb12-amd64").mkdir()
    assert refused(root.path) == (
        f"ROOT has 2 kernels (6.12.115+deb12-amd64, {KVER}); choose one with --kver"
    )


def test_on_this_machine_the_command_has_no_chroot() -> None:
    command = [sys.executable, str(BUILD), "module", "--root", "/", "--kver", "6.12.999-none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("); run: apt-get install linux-image-6.12.999-none\n")


def test_not_debian(root: MadeUpRoot) -> None:
    assert refused(root.path, KVER) == (
        "ROOT is not a Debian root directory: ROOT/var/lib/dpkg/status is missing"
    )


def test_own_kernel(root: MadeUpRoot) -> None:
    del root.versions[f"linux-image-{KVER}"]
    assert root.error() == (
        f"kernel {KVER} is not from a Debian package: there is no linux-image-{KVER} in ROOT, "
        "so the source that it was built from is not known"
    )


def test_headers_missing(root: MadeUpRoot) -> None:
    del root.versions[f"linux-headers-{KVER}"]
    assert root.error() == (
        f"missing in ROOT: linux-headers-{KVER}; "
        f"run: chroot ROOT apt-get install linux-headers-{KVER}={VERSION}"
    )


def test_source_and_tools_missing(root: MadeUpRoot) -> None:
    for name in ("linux-source-6.12", "make", "dwarves"):
        del root.versions[name]
    assert root.error() == (
        "missing in ROOT: linux-source-6.12, make, dwarves; "
        f"run: chroot ROOT apt-get install linux-source-6.12={VERSION} make dwarves"
    )


def test_source_of_another_version(root: MadeUpRoot) -> None:
    root.versions["linux-source-6.12"] = "6.12.115-2~deb12u1"
    assert root.error() == (
        f"linux-source-6.12 has version 6.12.115-2~deb12u1, the kernel {KVER} has {VERSION}; "
        f"run: chroot ROOT apt-get install linux-source-6.12={VERSION}"
    )


def test_unsigned_image_will_do(root: MadeUpRoot) -> None:
    root.versions[f"linux-image-{KVER}-unsigned"] = root.versions.pop(f"linux-image-{KVER}")
    root.compiler.unlink()
    assert "gcc-12" in root.error()


@pytest.mark.parametrize(
    ("kver", "series"), [("6.1.0-50-amd64", "6.1"), ("7.2.13+deb14-amd64", "7.2")]
)
def test_another_series(tmp_path: Path, kver: str, series: str) -> None:
    assert MadeUpRoot(tmp_path / "root", kver).error() == (
        f"kernel {kver} is not supported: the module is made from the fs/fuse of Linux 6.12 or "
        f"7.3, this is {series}; boot a kernel of the 6.12 or 7.3 series"
    )


@pytest.mark.parametrize(
    ("kver", "oldest"),
    [
        ("6.12.106+deb13-amd64", "6.12.107"),
        ("6.12-amd64", "6.12.107"),
        ("6.12.94+deb13-amd64", "6.12.107"),
        ("7.3.3+deb13-amd64", "7.3.4"),
    ],
)
def test_too_old(tmp_path: Path, kver: str, oldest: str) -> None:
    series = oldest.rpartition(".")[0]
    assert MadeUpRoot(tmp_path / "root", kver).error() == (
        f"kernel {kver} is not supported: of the {series} series {oldest} is the oldest that is; "
        "install a newer one and boot it"
    )


def test_each_series_wants_its_own_source(tmp_path: Path) -> None:
    root = MadeUpRoot(tmp_path / "root", "7.3.4+deb13-amd64")
    assert root.error() == (
        f"missing in ROOT: linux-source-7.3; run: chroot ROOT apt-get install "
        f"linux-source-7.3={VERSION}"
    )


def test_no_release_at_all(root: MadeUpRoot) -> None:
    assert root.error("newest") == (
        "'newest' is no kernel release; give one as `uname -r` prints it"
    )


@pytest.mark.parametrize(
    ("option", "purpose"),
    [
        ("CONFIG_FUSE_FS", "FUSE, which the module lives beside"),
        ("CONFIG_FUSE_PASSTHROUGH", "backing files"),
        ("CONFIG_BPF_SYSCALL", "BPF programs"),
        ("CONFIG_BPF_JIT", "struct_ops"),
        ("CONFIG_DEBUG_INFO_BTF", "the types that programs are checked against"),
        ("CONFIG_DEBUG_INFO_BTF_MODULES", "types of modules"),
    ],
)
def test_option_not_set(root: MadeUpRoot, option: str, purpose: str) -> None:
    root.config = [line for line in root.config if not line.startswith(f"{option}=")]
    root.config.append(f"# {option} is not set")
    assert root.error() == (
        f"kernel {KVER} is not supported: it was built without {option} ({purpose}); "
        "boot another kernel of the series"
    )


def test_headers_without_vmlinux(root: MadeUpRoot) -> None:
    root.vmlinux.unlink()
    assert root.error() == (
        f"ROOT/usr/src/linux-headers-{KVER} has no vmlinux, so the module would have no BTF and no "
        "filter could be checked; "
        f"run: chroot ROOT apt-get install --reinstall linux-headers-{KVER}"
    )


def test_headers_damaged(root: MadeUpRoot) -> None:
    root.vmlinux.unlink()
    root.headers.rmdir()
    assert root.error() == (
        f"ROOT/usr/src/linux-headers-{KVER} has no .config; "
        f"run: chroot ROOT apt-get install --reinstall linux-headers-{KVER}"
    )


def test_compiler_missing(root: MadeUpRoot) -> None:
    root.compiler.unlink()
    assert root.error() == (
        f"kernel {KVER} was built with gcc-12, which is missing in ROOT; "
        "run: chroot ROOT apt-get install gcc-12"
    )


def test_another_compiler(root: MadeUpRoot) -> None:
    root.config[0] = 'CONFIG_CC_VERSION_TEXT="Debian clang version 19.1.7"'
    assert root.error() == (f"kernel {KVER} is not supported: it was not built with Debian's gcc")


def test_source_file_missing(root: MadeUpRoot) -> None:
    assert root.error() == (
        "ROOT/usr/src/linux-source-6.12.tar.xz is missing; "
        "run: chroot ROOT apt-get install --reinstall linux-source-6.12"
    )


def test_patch_does_not_apply(root: MadeUpRoot, tmp_path: Path) -> None:
    """A later release of the series may change what a patch touches."""
    tree = tmp_path / "linux-source-6.12"
    names = ("control", "dev", "dir", "file", "fuse_i", "fuse_trace", "inode", "passthrough")
    for name in names:
        path = tree / f"fs/fuse/{name}{'.h' if name.startswith('fuse_') else '.c'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("another kernel's\n")
    (tree / "fs/fuse/Makefile").touch()
    for name in ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch"):
        (tree / "scripts").mkdir(exist_ok=True)
        (tree / "scripts" / name).touch()
    with tarfile.open(root.source, "w:xz") as archive:
        archive.add(tree, "linux-source-6.12")
    lines = root.error().splitlines()
    first = min(path.name for path in BUILD.parent.glob("series/6.12/patches/both/*.patch"))
    assert lines[0] == f"applying {first} failed with status 1:"
    assert lines[1:-1]
    assert all("fs/fuse/" in line or "hunk" in line.lower() for line in lines[1:-1])
    assert lines[-1] == (
        "this kernel changed what the patch touches: it is not supported until the patch is "
        "brought up to date"
    )


def asked(directory: Path, *arguments: str, **variables: str) -> str:
    """What the builder says for this machine, in a directory, with variables."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    done = subprocess.run(
        [sys.executable, BUILD, "module", "--root", "/", "--kver", "6.12.1-none", *arguments],
        cwd=directory,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("name", ["a b", "a:b", "a$b", "a#b", "a\tb"])
def test_a_cache_that_make_does_not_take_is_refused_at_once(tmp_path: Path, name: str) -> None:
    for said in (
        asked(tmp_path, FUSEBPF_CACHE=str(tmp_path / name)),
        asked(tmp_path, "--cache", name),
    ):
        assert f"make cannot build in {str(tmp_path / name)!r}" in said
        assert "set FUSEBPF_CACHE to another directory" in said
    assert "6.12.1-none" in asked(tmp_path, FUSEBPF_CACHE=str(tmp_path / "a-b"))


def test_the_cache_is_where_the_package_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BUILD.parent)
    build = importlib.import_module("build")
    monkeypatch.chdir(tmp_path)
    nowhere = argparse.Namespace(cache=None)
    (tmp_path / "link").symlink_to("mine")
    for own, base in (
        ("mine", None),
        ("link/x", None),
        ("/mine", "/base"),
        ("", "base"),
        ("", "/base"),
        ("", None),
    ):
        monkeypatch.setenv("FUSEBPF_CACHE", own)
        monkeypatch.setenv("XDG_CACHE_HOME", base or "")
        assert build.cache_dir(nowhere) == paths.cache_dir().resolve()


def test_a_lock_that_was_removed_while_waited_for_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BUILD.parent)
    build = importlib.import_module("build")
    work = tmp_path / "work"
    there: list[bool] = []

    def second() -> None:
        with build.locked(work):
            there.append((work / "lock").is_file())

    def waits(lock: int) -> bool:
        lines = Path("/proc/locks").read_text().splitlines()
        return any("->" in line and f":{lock} " in line for line in lines)

    with build.locked(work):
        number = (work / "lock").stat().st_ino
        thread = threading.Thread(target=second)
        thread.start()
        end = time.monotonic() + 60
        while not waits(number):
            assert time.monotonic() < end
            time.sleep(0.01)
        shutil.rmtree(work)
    thread.join()
    assert there == [True]
