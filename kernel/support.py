# SPDX-License-Identifier: GPL-2.0-only
"""Tell whether the module can be built for a kernel of a Debian root directory, and if not, why.

Every refusal is a BuildError whose text ends with what to do about it, as far as that can be said.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

SERIES = {"6.12": 107, "7.3": 4}
"""Series → its oldest release that is supported; ``series/`` has a directory for each.

Before 6.12.107 backing_file_open() takes other arguments; 7.3.4 is the first that was tried.
"""
TREE_SERIES = "6.12"
"""The series that kernels of our own are built of."""

TOOLS = ("make", "dwarves")

CONFIG = {
    "CONFIG_FUSE_FS": "FUSE, which the module lives beside",
    "CONFIG_FUSE_PASSTHROUGH": "backing files",
    "CONFIG_BPF_SYSCALL": "BPF programs",
    "CONFIG_BPF_JIT": "struct_ops",
    "CONFIG_DEBUG_INFO_BTF": "the types that programs are checked against",
    "CONFIG_DEBUG_INFO_BTF_MODULES": "types of modules",
}
"""What the kernel must have been built with, and what for."""


class BuildError(Exception):
    """A build that cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class Root:
    """A Debian root directory with a kernel, its headers, its source and a compiler."""

    path: Path
    kver: str

    @property
    def series(self) -> str:
        return release_of(self.kver)[0]

    @property
    def source(self) -> str:
        """The package with the kernel's source."""
        return f"linux-source-{self.series}"

    @property
    def headers(self) -> str:
        return f"/usr/src/linux-headers-{self.kver}"

    def inside(self, path: str) -> Path:
        return self.path / path.lstrip("/")


def to_install(root: Path, *packages: str) -> str:
    """The command that installs packages in a root directory."""
    inside = "" if root == Path("/") else f"chroot {root} "
    return f"run: {inside}apt-get install {' '.join(packages)}"


def find_kver(root: Path, wanted: str | None) -> str:
    """The kernel version to build for: the wanted one, else the only one that is installed."""
    modules = root / "lib/modules"
    found = sorted(p.name for p in modules.iterdir()) if modules.is_dir() else []
    if wanted:
        check_release(wanted)
        if wanted not in found:
            raise BuildError(
                f"kernel {wanted} is not installed in {root}"
                f" (there is: {', '.join(found) or 'none'}); "
                + to_install(root, f"linux-image-{wanted}")
            )
        return wanted
    if len(found) != 1:
        raise BuildError(
            f"{root} has {len(found)} kernels ({', '.join(found) or 'none'}); "
            + ("choose one with --kver" if found else to_install(root, "linux-image-amd64"))
        )
    check_release(found[0])
    return found[0]


def release_of(kver: str) -> tuple[str, int]:
    """The series of a kernel release and its place there: 6.12 and 118 of 6.12.118+deb13-amd64."""
    number = re.match(r"(\d+\.\d+)(?:\.(\d+))?(?![\d.])", kver)
    if number is None:
        raise BuildError(f"{kver!r} is no kernel release; give one as `uname -r` prints it")
    return number[1], int(number[2] or 0)


def check_release(kver: str) -> None:
    """Refuse what is no release of our series, or one that is too old."""
    series, patch_level = release_of(kver)
    known = " or ".join(SERIES)
    if series not in SERIES:
        raise BuildError(
            f"kernel {kver} is not supported: the module is made from the fs/fuse of Linux"
            f" {known}, this is {series}; boot a kernel of the {known} series"
        )
    if patch_level < SERIES[series]:
        raise BuildError(
            f"kernel {kver} is not supported: of the {series} series {series}.{SERIES[series]} is"
            " the oldest that is; install a newer one and boot it"
        )


UNPACKED = ("installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending")
"""States in which a package's files are in place: DKMS builds while packages are configured."""


def package_versions(root: Path) -> dict[str, str]:
    """Packages whose files a root has, and their versions.

    dpkg-query is asked: while dpkg runs, its status file alone is not what holds.
    """
    admin = root / "var/lib/dpkg"
    if not (admin / "status").is_file():
        raise BuildError(f"{root} is not a Debian root directory: {admin / 'status'} is missing")
    command = ["dpkg-query", f"--admindir={admin}", "--show"]
    command += ["--showformat=${Package} ${Version} ${db:Status-Status}\\n"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"dpkg-query could not list the packages of {root}: {done.stderr.strip()}")
    listed = (line.split(" ") for line in done.stdout.splitlines())
    return {name: version for name, version, state in listed if state in UNPACKED}


def check_packages(root: Root, versions: dict[str, str]) -> list[str]:
    """Make sure that everything is there and fits; return what identifies it, for the hash."""
    image = f"linux-image-{root.kver}"
    kernel = versions.get(image) or versions.get(f"{image}-unsigned")
    if kernel is None:
        raise BuildError(
            f"kernel {root.kver} is not from a Debian package: there is no {image} in {root.path},"
            " so the source that it was built from is not known"
        )
    headers = f"linux-headers-{root.kver}"
    wanted = {headers: kernel, root.source: kernel, **dict.fromkeys(TOOLS, "")}
    missing = [name for name in wanted if name not in versions]
    if missing:
        exact = [f"{name}={wanted[name]}" if wanted[name] else name for name in missing]
        raise BuildError(
            f"missing in {root.path}: {', '.join(missing)}; {to_install(root.path, *exact)}"
        )
    for name in (headers, root.source):
        if versions[name] != kernel:
            raise BuildError(
                f"{name} has version {versions[name]}, the kernel {root.kver} has {kernel}; "
                + to_install(root.path, f"{name}={kernel}")
            )
    compiler = check_headers(root)
    named = (root.source, headers, compiler, "binutils", "dwarves")
    return [f"{image}={kernel}"] + [f"{name}={versions.get(name, '')}" for name in named]


def check_headers(root: Root) -> str:
    """Make sure that the kernel has what the module needs; return its compiler's package."""
    headers = root.inside(root.headers)
    try:
        config = (headers / ".config").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BuildError(
            f"{headers} has no .config; "
            + to_install(root.path, "--reinstall", f"linux-headers-{root.kver}")
        ) from None
    lines = set(config.splitlines())
    lacking = [
        f"{name} ({purpose})"
        for name, purpose in CONFIG.items()
        if not lines & {f"{name}=y", f"{name}=m"}
    ]
    if lacking:
        raise BuildError(
            f"kernel {root.kver} is not supported: it was built without {', '.join(lacking)};"
            " boot another kernel of the series"
        )
    if not (headers / "vmlinux").is_file():
        raise BuildError(
            f"{headers} has no vmlinux, so the module would have no BTF and no filter could be"
            f" checked; {to_install(root.path, '--reinstall', f'linux-headers-{root.kver}')}"
        )
    return check_compiler(root, config)


def check_compiler(root: Root, config: str) -> str:
    """Make sure that the compiler the kernel was built with is there; return its package."""
    built_with = re.search(r'^CONFIG_CC_VERSION_TEXT="\S*?(gcc-\d+) ', config, re.M)
    if built_with is None:
        raise BuildError(f"kernel {root.kver} is not supported: it was not built with Debian's gcc")
    compiler = built_with[1]
    if not root.inside(f"/usr/bin/{compiler}").exists():
        raise BuildError(
            f"kernel {root.kver} was built with {compiler}, which is missing in {root.path}; "
            + to_install(root.path, compiler)
        )
    return compiler
