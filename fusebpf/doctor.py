# SPDX-License-Identifier: MIT
"""What fusebpf needs of this machine, each probed by trying it, with the command that mends it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fusebpf import programs
from fusebpf.errors import FusebpfError

State = Literal["ok", "slow", "missing", "untried"]

PURPOSES = {
    "compile": "compile filter files",
    "attach": "attach filters on this machine",
    "trace": "trace their operations",
    "module": "build the kernel module for this kernel",
    "vm": "run commands in the VM",
}


@dataclass(frozen=True)
class Finding:
    """One requirement: what was found and, unless it is "ok", how to mend it.

    "slow" works, but slower than it could; "untried" could not be tried before another is mended.
    """

    name: str
    purposes: tuple[str, ...]
    state: State
    found: str
    mend: str = ""


_Outcome = tuple[State, str, str]

_SYSTEM = "run it as root, with /proc and /sys mounted"


def _ok(found: str) -> _Outcome:
    return "ok", found, ""


def examine(purposes: Iterable[str] = PURPOSES) -> list[Finding]:
    """Try everything that is needed for `purposes`."""
    wanted = set(purposes)
    found = []
    for name, needed_for, probe in _PROBES:
        if wanted & set(needed_for):
            try:
                outcome = probe()
            except FusebpfError as error:
                outcome = ("missing", error.message, " ".join((error.help or "").split()))
            except OSError as error:  # the others tell something all the same
                outcome = ("missing", f"cannot be tried: {error}", _SYSTEM)
            found.append(Finding(name, needed_for, *outcome))
    return found


def _clang() -> _Outcome:
    from fusebpf.build.clang import compile_c, find_clang

    clang = find_clang()
    compile_c(clang, "int one(void) { return 1; }\n", Path("/"))
    return _ok(f"{clang.path} {clang.version} compiles to BPF")


def _libbpf() -> _Outcome:
    from fusebpf.runtime.libbpf import library, version
    from fusebpf.runtime.load import require_libbpf

    require_libbpf()
    return _ok(f"{library().path} is version {'.'.join(map(str, version()))}")


def _kernel_btf() -> _Outcome:
    from fusebpf.objfile.btf import KERNEL_BTF

    path = KERNEL_BTF / "vmlinux"
    try:
        with path.open("rb") as file:
            magic = file.read(2)
    except OSError as error:
        return (
            "missing",
            f"cannot read {path}: {error.strerror}",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF, as Debian's have it",
        )
    if magic != struct.pack("=H", 0xEB9F):
        return "missing", f"{path} is no BTF", "boot a kernel of your distribution"
    return _ok(f"{path} is there")


def _capabilities() -> _Outcome:
    from fusebpf.runtime import fsmount, sysbpf

    if os.geteuid() != 0:
        return "missing", "this process is not root", "sudo fusebpf doctor"
    try:
        os.close(sysbpf.prog_load_nothing())
        with fsmount.FsContext("tmpfs"):
            pass
    except OSError as error:
        return (
            "missing",
            f"the kernel does not let this process load BPF programs and mount: {error.strerror}",
            "run it outside containers that withhold CAP_SYS_ADMIN and CAP_BPF",
        )
    return _ok("this process may load BPF programs and mount")


def _module() -> _Outcome:
    from fusebpf.runtime import features, fsmount

    root = os.geteuid() == 0
    if features.fs_type() is not None and features.probe() is None:
        return (
            "missing",
            "fuse-bpf is loaded, but has no BTF that can be read",
            f"rmmod fusebpf; {features.how_to_get(os.uname().release)}",
        )
    if not root and features.fs_type() is None and _runs("modinfo", "fusebpf"):
        return "untried", "the module fusebpf is not loaded; a mount by root loads it", ""
    kernel = features.load() if root else features.require()
    if not root:
        return "untried", f"type {kernel.fs_type} is there; opening it needs root", ""
    try:
        with fsmount.FsContext(kernel.fs_type):
            pass
    except OSError as error:
        return "missing", f"type {kernel.fs_type} cannot be mounted: {error.strerror}", ""
    return _ok(f"type {kernel.fs_type}, {len(features.served_hooks())} hooks")


def _device() -> _Outcome:
    from fusebpf.runtime import features

    path = Path(features.device())
    if features.fs_type() is None:
        return "untried", f"{path} comes with fuse-bpf", ""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return "missing", f"cannot open {path}: {error.strerror}", "udevadm trigger, or be root"
    return _ok(f"{path} opens")


_VERSION = Path("/proc/version")
_SECURE_BOOT = Path("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")


def _secure_boot() -> _Outcome:
    """Secure Boot keeps the kernel from loading modules that no enrolled key has signed."""
    from fusebpf.runtime import features

    lockdown = _words(Path("/sys/kernel/security/lockdown"))
    if "[confidentiality]" in lockdown:
        return (
            "missing",
            "the kernel is locked down: it reads no memory for BPF",
            "disable lockdown",
        )
    try:
        enabled = _SECURE_BOOT.read_bytes()[4:5] == b"\1"
    except OSError:
        enabled = False
    if (enabled or "[integrity]" in lockdown) and features.fs_type() is None:
        return (
            "missing",
            "Secure Boot is on: the module must be signed with a key that the firmware knows",
            "mokutil --import CERT.der once, reboot, then sign it: "
            f"/usr/src/linux-headers-{os.uname().release}/scripts/sign-file sha256 KEY CERT.der "
            "fusebpf.ko",
        )
    return _ok("Secure Boot is on, the module is loaded" if enabled else "not in force")


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []


def _without_module() -> _Outcome | None:
    """Where fuse-bpf is in the kernel itself, nothing has to be built."""
    from fusebpf.runtime import features

    if features.fs_type() != features.KERNEL_FS_TYPE:
        return None
    return _ok("not needed: the kernel's own FUSE has fuse-bpf")


def _headers() -> _Outcome:
    if unneeded := _without_module():
        return unneeded
    from fusebpf.runtime import features

    release = os.uname().release
    if other := features.why_not(release):
        return "missing", f"no module can be made for kernel {release}", other
    built = Path(f"/lib/modules/{release}/build")
    if not (built / "Makefile").exists():
        return (
            "missing",
            f"no headers of kernel {release} ({built})",
            f"apt-get install linux-headers-{release}",
        )
    return _ok(f"{built}")


def _tools() -> _Outcome:
    if unneeded := _without_module():
        return unneeded
    compiler = _kernel_compiler()
    needed = {"make": "make", compiler: compiler, "pahole": "dwarves"}
    absent = [package for tool, package in needed.items() if not _runs(tool, "--version")]
    if absent:
        return (
            "missing",
            f"not installed: {', '.join(absent)}",
            f"apt-get install {' '.join(absent)}",
        )
    return _ok(f"make, {compiler} and pahole run")


def _kernel_compiler() -> str:
    """The gcc that built the running kernel, and has to build modules for it: as a package."""
    found = re.search(r"\bgcc-\d+\b", _VERSION.read_text(encoding="utf-8"))
    return found[0] if found else "gcc"


def _qemu() -> _Outcome:
    if not _runs("qemu-system-x86_64", "--version"):
        return "missing", "QEMU is not installed", "apt-get install qemu-system-x86"
    return _ok("qemu-system-x86_64 runs")


def _guest() -> _Outcome:
    from fusebpf.vm.debootstrap import MACHINE, as_root
    from fusebpf.vm.root import root_path

    if (machine := os.uname().machine) != MACHINE:
        return "missing", f"the guest is of amd64, this machine is {machine}", "use one of amd64"
    root = root_path()
    if root.is_dir() and os.access(root.parent, os.W_OK):
        return _ok(f"the guest is in {root.parent}")
    if os.geteuid() != 0:
        lacks = "is another user's" if root.is_dir() else "has no guest, which only root can make"
        return "missing", f"{root.parent} {lacks}", as_root("`fusebpf vm`")
    if not _runs("mmdebstrap", "--version"):
        return "missing", "mmdebstrap is not installed", "apt-get install mmdebstrap"
    return _ok("mmdebstrap runs, to make the guest")


_KVM_CREATE_VM = 0xAE01


def _kvm() -> _Outcome:
    from fusebpf.vm.accel import known

    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return (
            "slow",
            f"no KVM ({error.strerror}): the VM is emulated, several times slower",
            "modprobe kvm_intel or kvm_amd; in a virtual machine, switch nesting on at its host",
        )
    try:
        os.close(fcntl.ioctl(fd, _KVM_CREATE_VM, 0))
    except OSError as error:
        return (
            "slow",
            f"/dev/kvm makes no machine ({error.strerror})",
            "modprobe kvm_intel or kvm_amd",
        )
    finally:
        os.close(fd)
    if known() == "tcg":
        return (
            "slow",
            "/dev/kvm is there, but a kernel does not boot with it: the VM is emulated",
            "switch nesting on at the host of this virtual machine, or try again after a reboot",
        )
    return _ok("/dev/kvm makes a machine")


def _bcc() -> _Outcome:
    from fusebpf.trace.latency import import_bcc

    bcc = import_bcc()
    return _ok(f"bcc {getattr(bcc, '__version__', '')}".strip())


def _bcc_headers() -> _Outcome:
    from fusebpf.trace.latency import compiled, headers_mend, import_bcc

    try:
        bcc = import_bcc()
    except FusebpfError:
        return "untried", "bcc would tell", ""
    release = os.uname().release
    try:
        compiled(bcc, "#include <linux/fs.h>\n").cleanup()
    except Exception as error:  # bcc raises no class of its own
        return (
            "missing",
            f"bcc compiles nothing for kernel {release}: {error}",
            headers_mend(),
        )
    return _ok(f"bcc compiles for kernel {release}")


def _runs(name: str, *arguments: str) -> bool:
    path = programs.find(name)
    if path is None:
        return False
    return subprocess.run([path, *arguments], capture_output=True, check=False).returncode == 0


_PROBES: tuple[tuple[str, tuple[str, ...], Callable[[], _Outcome]], ...] = (
    ("clang", ("compile",), _clang),
    ("libbpf", ("attach",), _libbpf),
    ("kernel BTF", ("attach", "trace", "module"), _kernel_btf),
    ("capabilities", ("attach", "trace"), _capabilities),
    ("fuse-bpf", ("attach", "trace"), _module),
    ("device", ("attach",), _device),
    ("Secure Boot", ("attach", "module"), _secure_boot),
    ("bcc", ("trace",), _bcc),
    ("headers for bcc", ("trace",), _bcc_headers),
    ("kernel headers", ("module",), _headers),
    ("build tools", ("module",), _tools),
    ("QEMU", ("vm",), _qemu),
    ("KVM", ("vm",), _kvm),
    ("guest", ("vm",), _guest),
)
