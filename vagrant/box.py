# SPDX-License-Identifier: MIT
"""`make vagrant-box`: libvirt boxes of Debian 13 with fusebpf, made from packages.

    box.py [stock] [patched]

A box is a disk without a boot loader: kernel and initramfs lie beside it and libvirt boots them.
What is made goes to the cache by the hash of its inputs; build/vagrant/NAME leads there, for the
Vagrantfile.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from fusebpf.vm import debootstrap
from fusebpf.vm.accel import accelerator
from fusebpf.vm.bzimage import unpack_image
from fusebpf.vm.cache import digest, entry
from fusebpf.vm.errors import PrepareError, VmError
from fusebpf.vm.kernel import find_kernel
from fusebpf.vm.launch import prepare
from fusebpf.vm.machine import MachineSpec
from fusebpf.vm.root import SUITE

TREE = Path(__file__).resolve().parent.parent
PACKAGES = TREE / "build/deb"
BUILT = TREE / "build/vagrant"
CUSTOMIZE = TREE / "vagrant/customize.sh"

DISK_GB = 8
_NEEDED_BYTES = 6 << 30

COMMON = (
    *("fusebpf", "python3-bpfcc", "xz-utils", "bpftool", "python3-pytest"),
    *("systemd-sysv", "udev", "dbus", "openssh-server", "sudo", "kmod", "e2fsprogs"),
    *("iproute2", "procps", "less", "nano", "man-db", "bash-completion"),
)
"""What both machines have: fusebpf, what a login needs, and what one looks around with."""

DPKG_OPTIONS = (
    *debootstrap.DPKG_OPTIONS,
    "path-include=/usr/share/man/*/*fuse*bpf*",
    "path-include=/usr/share/doc/fusebpf/*",
)


@dataclass(frozen=True)
class Definition:
    """A machine: its packages beside COMMON; its kernel, None for the one among them."""

    packages: Sequence[str] = ()
    kernel: str | None = None


DEFINITIONS = {
    "patched": Definition(kernel="patched"),
    "stock": Definition(packages=("linux-image-amd64", "linux-headers-amd64", "fusebpf-dkms")),
}


def say(line: str) -> None:
    """Tell how far it is."""
    print(f"vagrant-box: {line}", file=sys.stderr, flush=True)


def run(what: str, command: Sequence[str | Path]) -> str:
    """Run a command and return its output; PrepareError when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PrepareError(f"{what} failed: {done.stderr.strip()}")
    return done.stdout


def repository(at: Path) -> str:
    """Make an apt repository of `make deb`'s packages; return its line for sources.list."""
    for package in sorted(PACKAGES.glob("*.deb")):
        shutil.copy(package, at)
    listed = subprocess.run(
        ["dpkg-scanpackages", "."], cwd=at, capture_output=True, text=True, check=True
    )
    (at / "Packages").write_text(listed.stdout)
    return f"deb [trusted=yes] copy://{at} ./"


def write_disk(root: Path, image: Path) -> None:
    """Write the root as a compressed disk image."""
    raw = image.with_suffix(".raw")
    mke2fs = ["mke2fs", "-q", "-t", "ext4", "-m", "1", "-L", "root", "-d"]
    run("mke2fs", [*mke2fs, root, raw, f"{DISK_GB}G"])
    convert = ["qemu-img", "convert", "-c", "-o", "compression_type=zstd", "-O", "qcow2"]
    run("qemu-img", [*convert, raw, image])
    raw.unlink()


def write_box(image: Path, box: Path) -> None:
    """Pack what Vagrant takes: the disk, what it is, and settings, of which it needs none."""
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": DISK_GB}
    (box.parent / "metadata.json").write_text(json.dumps(metadata))
    (box.parent / "Vagrantfile").write_text("")
    with tarfile.open(box, "w") as archive:
        for name in ("metadata.json", "Vagrantfile"):
            archive.add(box.parent / name, name)
            (box.parent / name).unlink()
        archive.add(image, "box.img")
    image.unlink()


def build(name: str, work: Path, own_kernel: Path | None) -> None:
    """Fill `work` with the box of a definition, its kernel and the key that lets one in."""
    run(
        "ssh-keygen",
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", work / "key"],
    )
    with tempfile.TemporaryDirectory(prefix="fusebpf-box-") as scratch:
        packages = Path(scratch, "packages")
        packages.mkdir()
        recipe = debootstrap.Recipe(
            what=f"box {name}",
            entry=f"box-{name}",
            suite=SUITE,
            packages=(*COMMON, *DEFINITIONS[name].packages),
            needed_bytes=_NEEDED_BYTES,
            hook=f'{quote(str(CUSTOMIZE))} "$1" {quote(str(work / "key.pub"))} fusebpf-{name}',
            doing_hook="making it a machine that one logs in to",
            command="make vagrant-box",
            sources=(repository(packages),),
            dpkg_options=DPKG_OPTIONS,
        )
        root = work / "root"
        root.mkdir()
        debootstrap.check(recipe, work)
        debootstrap.make(recipe, root, say)
    if own_kernel:
        shutil.copy(own_kernel, work / "kernel")
    else:
        image = next(root.glob("boot/vmlinuz-*"))
        (work / "kernel").write_bytes(unpack_image(image.read_bytes(), image))
        shutil.copy(next(root.glob("boot/initrd.img-*")), work / "initrd")
    say(f"box {name}: writing the disk")
    write_disk(root, work / "box.img")
    shutil.rmtree(root)
    write_box(work / "box.img", work / "box")


def box(name: str, guest_root: Path) -> Path:
    """Return the directory of a definition's box, made first when absent (minutes)."""
    definition = DEFINITIONS[name]
    own = find_kernel(definition.kernel, guest_root, say).image if definition.kernel else None
    inputs = [Path(__file__), CUSTOMIZE, *sorted(PACKAGES.glob("*.deb"))]
    parts = [path.read_bytes() for path in (*inputs, *([own] if own else []))]
    return entry(f"box-{name}-{digest(parts)}", lambda work: build(name, work, own))


def end_by_exception() -> None:
    """Have a signal end this so that what is half made is removed on the way."""
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def unwind(number: int, _frame: object) -> None:
        # A second one must not end the removing
        for other in watched:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in watched:
        if signal.getsignal(number) is not signal.SIG_IGN:  # by nohup
            signal.signal(number, unwind)


def main() -> int:
    """Make the boxes asked for (all by default), and find out how libvirt shall run them."""
    end_by_exception()
    names = sys.argv[1:] or list(DEFINITIONS)
    if unknown := sorted(set(names) - set(DEFINITIONS)):
        print(f"vagrant-box: no box {unknown[0]}: {', '.join(DEFINITIONS)}", file=sys.stderr)
        return 2
    BUILT.mkdir(parents=True, exist_ok=True)
    try:
        ready = prepare(say, with_module=False)
        spec = MachineSpec(boot=ready.boot, disk=ready.disk, exports=())
        (BUILT / "driver").write_text("kvm" if accelerator(spec) == "kvm" else "qemu")
        for name in names:
            link = BUILT / name
            made = box(name, ready.root)
            link.unlink(missing_ok=True)
            link.symlink_to(made)
            print(link)
    except VmError as error:
        print(f"vagrant-box: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
