# SPDX-License-Identifier: MIT
"""From a request (kernel, directories, command) to a run: prepare what is missing, then boot."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import fusebpf
from fusebpf.vm import shares as sharing
from fusebpf.vm.accel import accelerator
from fusebpf.vm.bytecode import fill
from fusebpf.vm.cache import cache_dir, own_directory, using
from fusebpf.vm.debootstrap import Progress
from fusebpf.vm.errors import BootPanicError, PrepareError
from fusebpf.vm.kernel import (
    STOCK,
    BootFiles,
    KernelSource,
    find_kernel,
    kernel_root,
    prepare_kernel,
)
from fusebpf.vm.machine import Export, MachineSpec
from fusebpf.vm.module import MODULE_NAME, prepare_module
from fusebpf.vm.root import PYTHON, VENV, prepare_disk, prepare_root, prepare_state
from fusebpf.vm.run import BOOT_SECONDS, GuestShare, Job, Output, run
from fusebpf.vm.wire import ExitReport

_PACKAGE = Path(fusebpf.__file__).resolve().parent
_GUEST_FILES = "/run/fusebpf"
_SYSTEMD = "/usr/lib/systemd/systemd"
_WHEN_BOOTED = """
until [ -S /run/systemd/private ]; do sleep 0.1; done
systemctl is-system-running --wait >/dev/null  # a unit that failed is for the command to notice
exec "$@"
"""
_BYTECODE = Path("/run/fusebpf-bytecode")
"""Where Python keeps bytecode: the guest reads sources over read-only 9p, and compiling them anew
made a third to a half of every `fusebpf` command there."""
_OBJECTS = Path("/run/fusebpf-objects")
"""A guest's cache of objects, which later guests have, too: clang takes an emulated processor
several seconds for one. This machine uses none of it."""

_ENVIRONMENT = {
    "PATH": f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
    "VIRTUAL_ENV": VENV,
}


@dataclass(frozen=True)
class Request:
    """A run as a user asks for it. ``memory`` is in MiB, ``timeout`` in seconds."""

    command: Sequence[str]
    kernel: str = STOCK
    kernel_modules: Path | None = None
    module: Path | None = None
    with_module: bool = True
    cpus: int = 2
    memory: int = 2048
    read_only: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    timeout: float | None = None
    append: Sequence[str] = ()
    systemd: bool = False
    """systemd is process 1; the command begins when it has booted."""
    state: Path | None = None
    """File that keeps what the guest changes of its root; made when it is absent."""
    counted: bool = False
    """The guest's clock goes by instructions (MachineSpec)."""
    monitor: Path | None = None
    """Where QEMU takes commands (MachineSpec)."""
    cwd: Path = field(default_factory=Path.cwd)


@dataclass(frozen=True)
class Prepared:
    """Everything a boot needs, in the cache."""

    root: Path
    disk: Path
    kernel: KernelSource
    boot: BootFiles
    module: Path | None


def prepare(
    progress: Progress,
    kernel: str = STOCK,
    *,
    kernel_modules: Path | None = None,
    module: Path | None = None,
    with_module: bool = True,
) -> Prepared:
    """Make what is missing of root, boot files and module; seconds when nothing is.

    Raises:
        PrepareError: something could not be made; the message says how to mend it.
    """
    root = prepare_root(progress)
    with using(root):
        return _prepare(root, progress, kernel, kernel_modules, module, with_module)


def _prepare(
    root: Path,
    progress: Progress,
    kernel: str,
    kernel_modules: Path | None,
    module: Path | None,
    with_module: bool,
) -> Prepared:
    disk = prepare_disk(root, progress)
    holder = kernel_root(kernel, root, progress)
    source = find_kernel(kernel, holder, progress, kernel_modules)
    boot = prepare_kernel(source, root, progress)
    if module is not None and not source.takes_module:
        raise PrepareError(
            f"the kernel {kernel} has fuse-bpf built in and takes no module",
            "leave --module out, or give another --kernel",
        )
    with_module = with_module and source.takes_module
    if with_module and module is None:
        module = prepare_module(source.root or root, source.release, progress)
    return Prepared(root, disk, source, boot, module if with_module else None)


def execute(request: Request, output: Output, progress: Progress) -> ExitReport:
    """Prepare, boot, run the command.

    Raises:
        VmError: the machine, not the command, failed (see ``fusebpf.vm.errors``).
    """
    shares, files = _visible(request)
    if request.state is not None:
        prepare_state(request.state)
    ready = prepare(
        progress,
        request.kernel,
        kernel_modules=request.kernel_modules,
        module=request.module,
        with_module=request.with_module,
    )
    if ready.kernel.modules is not None and ready.kernel.root != ready.root:
        target = Path("/lib/modules", ready.kernel.release)
        shares.append(sharing.Share(ready.kernel.modules, target, writable=False))
        if ready.kernel.root is not None:
            # bcc compiles with them; lib/modules only has links there
            for headers in sorted(ready.kernel.root.glob("usr/src/linux-headers-*")):
                shares.append(
                    sharing.Share(headers, Path("/usr/src", headers.name), writable=False)
                )
    held = [ready.root, ready.disk.parent, ready.boot.image.parent]
    held.append(ready.kernel.root or ready.kernel.image.parent)
    if ready.module is not None:
        held.append(ready.module.parent)
    # Not shared by guests: what one replaces while another reads it, that one reads cut at the
    # length it had before.
    with using(*held), own_directory(f"bytecode-{ready.root.name}") as bytecode:
        fill(bytecode, ready.root, _packages())
        shares.append(sharing.Share(bytecode, _BYTECODE, writable=True, private=True))
        objects = cache_dir() / "guest-objects"
        objects.mkdir(exist_ok=True)
        shares.append(sharing.Share(objects, _OBJECTS, writable=True))
        return _boot(request, ready, shares, files, output, progress)


def _boot(
    request: Request,
    ready: Prepared,
    shares: Sequence[sharing.Share],
    files: dict[str, bytes],
    output: Output,
    progress: Progress,
) -> ExitReport:
    spec = MachineSpec(
        boot=ready.boot,
        disk=ready.disk,
        exports=[Export(f"s{n}", s.source, s.writable) for n, s in enumerate(shares)],
        cpus=request.cpus,
        memory=request.memory,
        append=(*ready.kernel.arguments, *request.append),
        state=request.state,
        counted=request.counted,
        monitor=request.monitor,
    )
    slowness = ready.kernel.slowness
    env = {
        **_ENVIRONMENT,
        "PYTHONPYCACHEPREFIX": str(_BYTECODE),
        "FUSEBPF_CACHE": str(_OBJECTS),
        "FUSEBPF_VM": ready.kernel.release,
        "FUSEBPF_VM_SLOWNESS": f"{slowness:g}",
        "FUSEBPF_VM_RUN": repeating(request),
    }
    modules = []
    if ready.module is not None:
        try:
            files[MODULE_NAME] = ready.module.read_bytes()
        except OSError as error:
            raise PrepareError(f"cannot read the module {ready.module}: {error.strerror}") from None
        modules.append(f"{_GUEST_FILES}/{MODULE_NAME}")
        env["FUSEBPF_MODULE"] = modules[-1]
    job = Job(
        command=(
            ["sh", "-c", _WHEN_BOOTED, "sh", *request.command]
            if request.systemd
            else request.command
        ),
        cwd=request.cwd,
        env=env,
        shares=[GuestShare(f"s{n}", s.target, s.writable, s.private) for n, s in enumerate(shares)],
        files=files,
        modules=modules,
        timeout=request.timeout,
        init=_SYSTEMD if request.systemd else "",
        state=request.state is not None,
    )
    if not request.counted:
        spec = replace(spec, accel=accelerator(replace(spec, exports=(), state=None)))
    boot_seconds = BOOT_SECONDS * slowness
    try:
        return run(spec, job, output, boot_seconds=boot_seconds)
    except BootPanicError as error:
        if spec.accel != "tcg":
            raise
        # With two emulated processors one can run an instruction that the other is patching
        # (static keys): rare, and over once the kernel is up. Nothing of ours ran yet.
        progress(f"{error.message} while booting; trying once more")
        return run(spec, job, output, boot_seconds=boot_seconds)


def repeating(request: Request) -> str:
    """Return the command line that boots such a machine again, up to the guest's command."""
    words = [".venv/bin/fusebpf", "vm", "run"]
    if request.kernel != STOCK:
        words += ["--kernel", request.kernel]
    if request.kernel_modules is not None:
        words += ["--kernel-modules", str(request.kernel_modules)]
    if request.module is not None:
        words += ["--module", str(request.module)]
    elif not request.with_module:
        words.append("--no-module")
    if request.cpus != Request.cpus:
        words += ["--cpus", str(request.cpus)]
    if request.memory != Request.memory:
        words += ["--memory", str(request.memory)]
    if request.systemd:
        words.append("--systemd")
    if request.state is not None:
        words += ["--state", str(request.state)]
    words += [word for text in request.append for word in ("--append", text)]
    return shlex.join([*words, "--"])


def _packages() -> list[Path]:
    """What of a source tree nearly every command of a guest imports."""
    tree = sharing.source_tree(_PACKAGE)
    return [_PACKAGE, tree / "tests"] if tree else []


def _visible(request: Request) -> tuple[list[sharing.Share], dict[str, bytes]]:
    """Return the shares of the run and the files that make this package importable in the guest."""
    shares = sharing.plan(request.cwd, request.read_only, request.writable)
    package, entry = sharing.package_shares(_PACKAGE)
    for share in package:
        if not any(share.target.is_relative_to(known.target) for known in shares):
            shares.append(share)
    site = f"{VENV}/lib/python{PYTHON}/site-packages/fusebpf.pth"
    return shares, {site: f"{entry}\n".encode()}
