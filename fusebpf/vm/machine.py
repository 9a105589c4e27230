# SPDX-License-Identifier: MIT
"""One QEMU process: its command line, its two byte streams, its end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from fusebpf.vm.errors import PrepareError
from fusebpf.vm.kernel import BootFiles

QEMU = "qemu-system-x86_64"

# oops=panic: an oops ends the run with its trace, instead of a guest that limps on.
# tsc=reliable, no watchdogs: an emulated clock is late by nature, that is no finding.
# cryptomgr.notests: the crypto self-tests are a fifth of an emulated boot.
_KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet panic=-1 oops=panic "
    "tsc=reliable nowatchdog rcupdate.rcu_cpu_stall_timeout=120 cryptomgr.notests"
)


@dataclass(frozen=True)
class Export:
    """A host directory the guest can mount by ``tag``."""

    tag: str
    path: Path
    writable: bool


_EMULATED_CPU = "max,-smap,-la57,-erms,-fsrm,-cx16"
"""Without what is costly to emulate: SMAP ends a translated block at each access to a process's
memory (KASAN sees what SMAP would), page walks get a fifth level, and copies go by bytes.

And without CMPXCHG16B: in QEMU 7.2 its flags are an operand of the comparison before. An interrupt
there hands them to the kernel for good, which allocates memory that way and ends with an oops."""


@dataclass(frozen=True)
class MachineSpec:
    """What the virtual machine is made of. ``memory`` is in MiB."""

    boot: BootFiles
    disk: Path
    exports: Sequence[Export]
    accel: str = "tcg"
    cpus: int = 2
    memory: int = 2048
    append: Sequence[str] = field(default_factory=tuple)
    state: Path | None = None
    """Disk of its own, which the guest writes to."""
    counted: bool = False
    """The clock goes by the instructions of all processors, a nanosecond each; never with KVM."""
    monitor: Path | None = None
    """A socket where QEMU takes commands (qemu(1), HMP), for as long as the machine is there."""

    @property
    def acceleration(self) -> tuple[str, ...]:
        """QEMU's arguments for it."""
        if self.counted:
            # All of it: what is counted are the instructions of a processor as people have it
            return ("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", "max")
        if self.accel == "kvm":
            return ("-accel", "kvm", "-cpu", "host")
        return ("-accel", "tcg,thread=multi", "-cpu", _EMULATED_CPU)


def command_line(spec: MachineSpec, agent_fd: int, console_fd: int) -> list[str]:
    """Return QEMU's arguments; the two sockets are handed over as open descriptors."""
    command = [
        *(QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35", *spec.acceleration),
        *("-smp", str(spec.cpus), "-m", f"{spec.memory}M", "-nic", "none"),
        *("-kernel", str(spec.boot.image), "-initrd", str(spec.boot.initramfs)),
        *("-append", " ".join((_KERNEL_ARGUMENTS, *spec.append))),
        # Shared by all machines: nobody writes to it, so no lock either.
        *("-drive", f"id=root,file={_escape(spec.disk)},format=raw,if=none,readonly=on"),
        *("-device", "virtio-blk-pci,drive=root"),
        *_state_arguments(spec.state),
        *("-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=agent,fd={agent_fd}"),
        *("-device", "virtserialport,chardev=agent,name=fusebpf"),
        *("-chardev", f"socket,id=console,fd={console_fd}", "-serial", "chardev:console"),
    ]
    if spec.monitor is not None:
        command += ["-monitor", f"unix:{_escape(spec.monitor)},server=on,wait=off"]
    for export in spec.exports:
        mode = "" if export.writable else ",readonly=on"
        command += [
            "-fsdev",
            f"local,id={export.tag},path={_escape(export.path)},security_model=none,multidevs=remap{mode}",
            "-device",
            f"virtio-9p-pci,fsdev={export.tag},mount_tag={export.tag}",
        ]
    return command


def _state_arguments(state: Path | None) -> tuple[str, ...]:
    if state is None:
        return ()
    drive = f"id=state,file={_escape(state)},format=raw,if=none"
    return ("-drive", drive, "-device", "virtio-blk-pci,drive=state")


def _escape(path: Path) -> str:
    """QEMU ends a value at a comma; a doubled one stands for itself."""
    return str(path).replace(",", ",,")


class Machine:
    """A running QEMU; leaving the context kills it, however it is left.

    ``agent`` and ``console`` are the host's ends of the guest's port and serial console.
    """

    def __init__(self, spec: MachineSpec) -> None:
        if shutil.which(QEMU) is None:
            raise PrepareError(
                f"{QEMU} is not installed", "run `make dev`, or apt-get install qemu-system-x86"
            )
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by kill()
        self.agent, agent_far = socket.socketpair()
        self.console, console_far = socket.socketpair()
        with agent_far, console_far:
            # setpriv: the kernel kills QEMU even if this process is killed with SIGKILL.
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *command_line(spec, agent_far.fileno(), console_far.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(agent_far.fileno(), console_far.fileno()),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._process.pid

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> str:
        """End QEMU now and return what it wrote to its stderr. Safe to call twice."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self.agent.close()
        self.console.close()
        if self._errors.closed:
            return ""
        with self._errors:
            self._errors.seek(0)
            return self._errors.read().decode(errors="replace").strip()
