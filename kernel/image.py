#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Build a kernel with fuse-bpf in its own FUSE, for the guests that test it.

The kernel is Debian's, from the package linux-source-6.12 of a Debian root directory, with the
patches and the files that ``kernel/build.py`` takes for that series, configured by fragments
of ``config/``. Everything a guest needs is built in. Results are cached by the hash of all inputs;
between them ccache and the objects of the last build make the next one short.

    kernel/image.py patched --root ROOT [--cache DIR]     prints the path of the kernel (ELF)
    kernel/image.py debug   --root ROOT                   the same with sanitizers and lock checks
    kernel/image.py plain   --root ROOT                   as Debian's source is, to compare with

Needs root (chroot and a private mount namespace) and about 6 GB of disk. Progress and errors go to
stderr. Exit status 0, 1 on failure, 2 on wrong usage.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build import (
    HERE,
    add_ours,
    cache_dir,
    locked,
    own_files,
    patches_of,
    run,
    say,
    update_file,
)
from support import TREE_SERIES, BuildError, Root, package_versions

SOURCE_PACKAGE = f"linux-source-{TREE_SERIES}"
PACKAGES = ("bc", "bison", "ccache", "dwarves", "flex", "gcc", "libelf-dev", "make")
"""What a root needs to build a kernel, beside its source."""

BUILD_SECONDS = 2 * 3600
CCACHE_SIZE = "3G"
_REPORT_SECONDS = 30.0


@dataclass(frozen=True)
class Variant:
    """A kernel: its fragments of ``config/``, later ones win; with our changes or without.

    ``variables`` are make's.
    """

    fragments: Sequence[str]
    ours: bool
    variables: Sequence[str] = ()


VARIANTS = {
    "plain": Variant(("guest.config",), ours=False),
    "patched": Variant(("guest.config", "fuse-bpf.config"), ours=True),
    "debug": Variant(
        ("guest.config", "fuse-bpf.config", "debug.config"),
        ours=True,
        # QEMU enters by PVH, whose first code compares names before KASAN has its shadow memory:
        # lib/string.c is left unchecked, as the kernel itself does with AMD_MEM_ENCRYPT. The rest
        # is of other checks, called everywhere, which KASAN slows (newer kernels spare lockdep).
        variables=tuple(
            f"KASAN_SANITIZE_{name}.o=n" for name in ("string", "lockdep", "unwind_orc", "kmemleak")
        ),
    ),
}


def input_files(variant: Variant) -> list[Path]:
    """Return the files of this directory that go into a kernel."""
    fragments = [HERE / "config" / name for name in variant.fragments]
    return fragments + (own_files(TREE_SERIES, "tree") if variant.ours else [])


def input_hash(variant: Variant, versions: dict[str, str]) -> str:
    """Return the name of the result in the cache."""
    digest = hashlib.sha256()
    # The package gcc only names its compiler
    compilers = sorted(name for name in versions if re.fullmatch(r"gcc-\d+", name))
    for name in (SOURCE_PACKAGE, *PACKAGES, *compilers, "binutils"):
        digest.update(f"{name}={versions.get(name, '')}".encode() + b"\0")
    scripts = [HERE / name for name in ("image.py", "build.py", "support.py")]
    for path in (*scripts, *input_files(variant)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def check_packages(root: Root, versions: dict[str, str]) -> None:
    """Raise BuildError when the root lacks a package."""
    missing = [name for name in (SOURCE_PACKAGE, *PACKAGES) if name not in versions]
    if missing:
        raise BuildError(
            f"missing in {root.path}: {', '.join(missing)}; run there: apt-get install "
            + " ".join(missing)
        )


def unpack(root: Root, versions: dict[str, str], work: Path) -> Path:
    """Unpack the whole source package once; return the tree's top, which nothing writes to."""
    top = work / f"linux-{versions[SOURCE_PACKAGE]}"
    if top.is_dir():
        return top
    say(f"kernel: unpacking {SOURCE_PACKAGE} (a minute, 1.5 GB)")
    scratch = work / "unpack"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    tarball = root.inside(f"/usr/src/{SOURCE_PACKAGE}.tar.xz")
    run(["tar", "-xJf", str(tarball), "-C", str(scratch)], "unpacking the kernel source")
    (scratch / SOURCE_PACKAGE).rename(top)
    scratch.rmdir()
    return top


def files_patched() -> list[str]:
    """Return the files, from the tree's top, that the patches change."""
    pattern = re.compile(r"^--- a/(\S+)", re.MULTILINE)
    return sorted(
        {
            name
            for patch in patches_of(TREE_SERIES, "tree")
            for name in pattern.findall(patch.read_text())
        }
    )


def assemble(top: Path, ours: Path, variant: Variant) -> bool:
    """Bring ``ours`` up to date: the files in which our tree differs from the source package.

    Mounted over the source they are the tree. Returns whether a file went away: what was built of
    it cannot be told by its time.
    """
    fresh = ours.with_name(ours.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    if variant.ours:
        for name in files_patched():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(top / name, fresh / name)
        add_ours(fresh, TREE_SERIES, "tree")
        (fresh / "fs/fuse/Kbuild").unlink()  # the module's
    wanted = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    before = {path.relative_to(ours) for path in ours.rglob("*") if path.is_file()}
    for path in before - wanted:
        (ours / path).unlink()
    for path in wanted:
        (ours / path).parent.mkdir(parents=True, exist_ok=True)
        update_file(ours / path, (fresh / path).read_bytes())
    ours.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(fresh)
    return bool(before - wanted)


def inside(root: Root, work: Path, top: Path, ours: Path, command: Sequence[str]) -> list[str]:
    """Return the command that runs ``command`` with the tree on /mnt/tree, in ROOT.

    The same places for every variant and machine, so that ccache finds what it knows.
    """
    script = (
        'mount --bind "$1" "$4/mnt" && '
        'mount -t overlay overlay -o "ro,lowerdir=$3:$2" "$4/mnt/tree" && '
        'root=$4 && shift 4 && exec chroot "$root" "$@"'
    )
    env = {
        "PATH": "/usr/lib/ccache:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "HOME": "/root",
        "CCACHE_DIR": "/mnt/ccache",
        "CCACHE_MAXSIZE": CCACHE_SIZE,
        "CCACHE_DEPEND": "1",  # the compiler lists what it read: no second preprocessor run
        "CCACHE_NOHASHDIR": "1",  # the object directories differ, what they hold does not
        # The image tells when and by whom; a cached one must not
        "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
        "KBUILD_BUILD_USER": "fusebpf",
        "KBUILD_BUILD_HOST": "fusebpf",
    }
    for name in ("tree", "ccache"):
        (work / name).mkdir(exist_ok=True)
    return [
        *("unshare", "--mount", "--propagation", "private"),
        *("sh", "-c", script, "sh", str(work), str(top), str(ours), str(root.path)),
        *("env", "-i", *(f"{key}={value}" for key, value in env.items())),
        *("nice", "-n", "19", *command),
    ]


def check_config(config: Path, fragments: Sequence[Path]) -> None:
    """Raise BuildError when an option that a fragment sets did not get its value."""
    got = set(config.read_text().splitlines())
    wanted: dict[str, str] = {}
    for fragment in fragments:
        for line in fragment.read_text().splitlines():
            if name := re.match(r"(?:# )?(CONFIG_\w+)[ =]", line):
                wanted[name[1]] = line
    lost = sorted(
        line
        for name, line in wanted.items()
        if line not in got and not (line.endswith("is not set") and not _mentions(got, name))
    )
    if lost:
        raise BuildError(
            "these options did not get their value; what they depend on is missing in "
            "kernel/config/:\n" + "\n".join(lost)
        )


def _mentions(lines: set[str], name: str) -> bool:
    return any(line.startswith(f"{name}=") for line in lines)


def make(command: Sequence[str], log: Path) -> None:
    """Run make with its output in ``log``, a line of progress every half minute."""
    started = told = time.monotonic()
    with log.open("w") as record:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert child.stdout is not None
        files = 0
        try:
            for line in child.stdout:
                record.write(line)
                files += line.startswith(("  CC ", "  AS "))
                now = time.monotonic()
                if now - told >= _REPORT_SECONDS:
                    told = now
                    say(f"kernel: {files} files, {now - started:.0f} s: {line.strip()}")
                if now - started > BUILD_SECONDS:
                    raise BuildError(f"the kernel build did not end within {BUILD_SECONDS} s")
        finally:
            if child.poll() is None and sys.exc_info()[0] is not None:
                child.kill()
            child.wait()
    if child.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        raise BuildError(f"the kernel build failed with status {child.returncode}:\n{tail}")


def build(name: str, root: Root, versions: dict[str, str], base: Path, target: Path) -> None:
    """Build the variant ``name`` and put kernel and configuration in ``target``, in one step."""
    variant = VARIANTS[name]
    work = base / "work"
    top = unpack(root, versions, work)
    ours = work / f"ours-{name}"
    objects = work / f"build-{name}"
    if assemble(top, ours, variant):
        shutil.rmtree(objects, ignore_errors=True)
    objects.mkdir(exist_ok=True)
    fragments = [HERE / "config" / fragment for fragment in variant.fragments]
    update_file(
        objects / "wanted.config", b"".join(fragment.read_bytes() for fragment in fragments)
    )
    jobs = f"-j{os.cpu_count() or 1}"
    call = ["make", "-C", "/mnt/tree", f"O=/mnt/{objects.name}", jobs, *variant.variables]
    say(f"kernel {name}: configuring")
    run(
        inside(
            root,
            work,
            top,
            ours,
            [*call, f"KCONFIG_ALLCONFIG=/mnt/{objects.name}/wanted.config", "allnoconfig"],
        ),
        "configuring the kernel",
    )
    check_config(objects / ".config", fragments)
    say(f"kernel {name}: building (a quarter of an hour on two processors the first time)")
    make(inside(root, work, top, ours, [*call, "vmlinux"]), objects / "build.log")
    for stale in base.glob("*.partial"):  # of a build that was killed; the lock is ours
        shutil.rmtree(stale)
    partial = target.with_suffix(".partial")
    partial.mkdir()
    run(
        ["objcopy", "--strip-all", str(objects / "vmlinux"), str(partial / "vmlinux")],
        "stripping the kernel",
    )
    shutil.copy2(objects / ".config", partial / "config")
    partial.rename(target)


def main() -> int:
    """Build the kernel that the arguments ask for, unless it is in the cache; print its path."""
    parser = argparse.ArgumentParser(description="Build a kernel with fuse-bpf in it.")
    parser.add_argument("variant", choices=sorted(VARIANTS))
    parser.add_argument("--root", required=True, help="Debian root directory with the source")
    parser.add_argument("--where", action="store_true", help="build nothing, say where it is")
    parser.add_argument("--cache", help="default: $FUSEBPF_CACHE or ~/.cache/fusebpf")
    arguments = parser.parse_args()
    try:
        path = Path(arguments.root).resolve()
        versions = package_versions(path)
        root = Root(path, "")
        check_packages(root, versions)
        base = cache_dir(arguments) / "kernel"
        target = base / input_hash(VARIANTS[arguments.variant], versions)
        if not target.is_dir():
            if arguments.where:
                raise BuildError(f"there is no {target}")
            if os.geteuid() != 0:
                raise BuildError("building a kernel needs root (mounts and chroot)")
            with locked(base / "work"):
                if not target.is_dir():
                    build(arguments.variant, root, versions, base, target)
    except BuildError as error:
        say(f"kernel/image.py: error: {error}")
        return 1
    print(target / "vmlinux")
    return 0


if __name__ == "__main__":
    sys.exit(main())
