# SPDX-License-Identifier: MIT
"""The kernels a guest can boot, and the prepared pair (uncompressed image, initramfs) of each."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fusebpf.vm.builder import run_builder
from fusebpf.vm.bzimage import image_release, unpack_image
from fusebpf.vm.cache import digest, entry
from fusebpf.vm.debootstrap import Progress, as_root
from fusebpf.vm.errors import PrepareError
from fusebpf.vm.initramfs import module_files, write_initramfs
from fusebpf.vm.kernelroot import BUILD_PACKAGES, KernelPackages, prepare_kernel_root

AGENT_SOURCE = Path(__file__).parent / "guest" / "agent.c"

STOCK = "stock"
"""The guest's own distribution's kernel, unmodified: the default."""

KERNELS: dict[str, KernelPackages | None] = {
    STOCK: None,
    "debian12": KernelPackages(
        title="Debian 12",
        suite="bookworm",
        packages=(
            "linux-image-6.12-amd64",
            "linux-headers-6.12-amd64",
            "linux-source-6.12",
            *BUILD_PACKAGES,
        ),
    ),
    "backports": KernelPackages(
        title="Debian 13 backports",
        suite="trixie",
        backports="trixie-backports",
        packages=(
            "linux-image-amd64/trixie-backports",
            "linux-headers-amd64/trixie-backports",
            "linux-source-7.3",
            *BUILD_PACKAGES,
        ),
    ),
}
"""Kernel name → the packages it comes from; None: it is in the guest root."""

_IMAGE = "boot/vmlinuz-*-amd64"


@dataclass(frozen=True)
class Built:
    """What a kernel of our own needs to be known of it."""

    slowness: float = 1.0
    """How much slower than on the stock one a guest on it is."""
    arguments: tuple[str, ...] = ()
    """For its command line."""


BUILT = {
    "patched": Built(),
    # Of all slabs, checking each object and noting who had it took half of the guest's time; KASAN
    # looks after them, too
    "debug": Built(6.0, ("slab_debug=-;FZPU,fuse*,fusebpf*",)),
    "plain": Built(),
}
"""Kernels that kernel/image.py builds."""


@dataclass(frozen=True)
class KernelSource:
    """A kernel as it is found: its image, its release, its module tree if it has one."""

    image: Path
    release: str
    modules: Path | None
    root: Path | None
    """The root directory with its headers and source; None for a kernel given by path."""
    takes_module: bool = True
    """fuse-bpf comes as a module, not in the kernel itself."""
    slowness: float = 1.0
    """Time limits are stretched by this factor."""
    arguments: tuple[str, ...] = ()
    """For its command line."""


@dataclass(frozen=True)
class BootFiles:
    """What QEMU is given."""

    image: Path
    initramfs: Path


def kernel_root(name: str, guest_root: Path, progress: Progress) -> Path:
    """Return the root directory that holds the kernel ``name``, made first when absent.

    Raises:
        PrepareError: it could not be made.
    """
    packages = KERNELS.get(name)
    return guest_root if packages is None else prepare_kernel_root(name, packages, progress)


def find_kernel(
    name: str, root: Path, progress: Progress, modules: Path | None = None
) -> KernelSource:
    """Return the kernel ``name`` of the tables, or the one whose image is the path ``name``.

    A kernel of our own is built when it is absent: a quarter of an hour or more.

    A path's modules are looked for in ``modules``, else where the image is, and in
    ``lib/modules/RELEASE`` beside it and above; a kernel without any must have everything built in.

    Raises:
        PrepareError: no such name or file, the file is no kernel image, or a build failed.
    """
    if name in KERNELS:
        images = sorted(root.glob(_IMAGE))
        if not images:
            raise PrepareError(
                f"{root} holds no kernel {_IMAGE}",
                f"remove {root} and run `fusebpf vm prepare --kernel {name}`",
            )
        release = image_release(images[-1].read_bytes(), images[-1])
        return KernelSource(images[-1], release, root / "lib/modules" / release, root)
    if name in BUILT:
        image = run_builder(
            "image.py",
            [name, "--root", str(root)],
            f"the kernel {name!r}",
            "the whole log is build.log in kernel/work of the cache (fusebpf vm info)",
            progress,
        )
        return built_kernel(name, image)
    image = Path(name)
    if not image.is_file():
        known = ", ".join(sorted((*KERNELS, *BUILT)))
        raise PrepareError(f"no kernel {name!r}", f"give one of {known}, or the path of an image")
    image = image.resolve()
    release = image_release(image.read_bytes(), image)
    if modules is None:
        beside = (image.parent, image.parent.parent)
        # Packages of newer kernels have the image among its modules
        trees = [image.parent, *(base / "lib/modules" / release for base in beside)]
        modules = next((tree for tree in trees if (tree / "modules.dep").is_file()), None)
    elif not (modules / "modules.dep").is_file():
        raise PrepareError(
            f"{modules} has no modules.dep", "give a tree as `make modules_install` lays it"
        )
    return KernelSource(image, release, modules, None)


def built_kernel(name: str, image: Path) -> KernelSource:
    """Return the kernel of our own ``name``, whose image that is."""
    release = image_release(image.read_bytes(), image)
    built = BUILT[name]
    return KernelSource(image, release, None, None, False, built.slowness, built.arguments)


def boot_name(source: KernelSource, root: Path) -> str:
    """Return the cache entry's name of boot files: a hash of everything that goes into them."""
    modules = module_files(source.modules) if source.modules else []
    made_of = [source.image, *modules]
    here = Path(__file__).parent
    ours = [AGENT_SOURCE, *(here / name for name in ("kernel.py", "initramfs.py", "bzimage.py"))]
    key = digest(
        [
            *map(str, made_of),
            *(f"{stat.st_size} {stat.st_mtime_ns}" for stat in map(os.stat, made_of)),
            root.name,
            *(path.read_bytes() for path in ours),
        ]
    )
    return f"boot-{source.release}-{key}"


def prepare_kernel(source: KernelSource, root: Path, progress: Progress) -> BootFiles:
    """Return the boot files of ``source``, made first when absent (seconds)."""

    def build(work: Path) -> None:
        progress(f"kernel: preparing {source.release}")
        (work / "vmlinux").write_bytes(unpack_image(source.image.read_bytes(), source.image))
        modules = module_files(source.modules) if source.modules else []
        write_initramfs(work / "initramfs", compile_agent(root), modules)

    where = entry(boot_name(source, root), build)
    return BootFiles(where / "vmlinux", where / "initramfs")


def compile_agent(root: Path) -> bytes:
    """Compile the guest's process 1 with the guest root's own compiler.

    Raises:
        PrepareError: not root (chroot(2)), or the compiler refused.
    """
    if os.geteuid() != 0:
        raise PrepareError("the boot files can only be made by root", as_root("this"))
    with tempfile.TemporaryDirectory(dir=root / "tmp", prefix="agent-") as scratch:
        inside = "/" + str(Path(scratch).relative_to(root))
        done = subprocess.run(
            [
                *("chroot", str(root), "gcc", "-static", "-Os", "-s", "-Wall", "-Wextra"),
                *("-Wno-unused-result", "-x", "c", "-", "-o", f"{inside}/agent"),
            ],
            input=AGENT_SOURCE.read_bytes(),
            capture_output=True,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": inside, "LC_ALL": "C.UTF-8"},
        )
        if done.returncode != 0:
            raise PrepareError(
                f"the agent does not compile:\n{done.stderr.decode(errors='replace')}"
            )
        return (Path(scratch) / "agent").read_bytes()
