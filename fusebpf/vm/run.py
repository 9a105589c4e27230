# SPDX-License-Identifier: MIT
"""Boot a guest, run one command in it, stream its output, tell how it ended."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusebpf.vm.console import Console
from fusebpf.vm.errors import BootError, BootPanicError, GuestTimeoutError, PanicError, VmError
from fusebpf.vm.machine import Machine, MachineSpec
from fusebpf.vm.wire import (
    Decoder,
    ExitReport,
    Frame,
    WireError,
    decode_exit,
    encode,
    encode_config,
    encode_file,
)

BOOT_SECONDS = 120.0
"""From QEMU's start to the command's: ten times what an idle two-core machine needs."""

Output = Callable[[int, bytes], None]
"""Called with 1 or 2 (stdout, stderr) and the bytes."""


@dataclass(frozen=True)
class GuestShare:
    """The export ``tag`` mounted at ``path`` in the guest, which caches it whole if ``private``."""

    tag: str
    path: Path
    writable: bool
    private: bool = False


@dataclass(frozen=True)
class Job:
    """What the guest is told. ``timeout`` is in seconds and counts the command alone."""

    command: Sequence[str]
    cwd: Path
    env: dict[str, str] = field(default_factory=dict)
    shares: Sequence[GuestShare] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    modules: Sequence[str] = ()
    timeout: float | None = None
    init: str = ""
    """Program that is process 1 beside the command; without one the agent is."""
    state: bool = False
    """The machine's state disk has what the guest changed of its root."""


def run(
    spec: MachineSpec, job: Job, output: Output, *, boot_seconds: float = BOOT_SECONDS
) -> ExitReport:
    """Run ``job`` in a new machine and return the command's status.

    Raises:
        BootError: the command never started.
        PanicError: the guest kernel panicked or oopsed; BootPanicError: before the agent ran, or
            the machine reset itself then.
        GuestTimeoutError: the command's time was over.
        VmError: QEMU ended, or the port spoke nonsense.
    """
    with Machine(spec) as machine:
        return _Session(machine, job, output, boot_seconds).run()


class _Session:
    def __init__(self, machine: Machine, job: Job, output: Output, boot_seconds: float) -> None:
        self._machine = machine
        self._job = job
        self._output = output
        self._console = Console()
        self._decoder = Decoder()
        self._to_send = b""
        self._greeted = False
        self._started = False
        self._boot_seconds = boot_seconds
        self._deadline: float | None = time.monotonic() + boot_seconds
        self._selector = selectors.DefaultSelector()

    def run(self) -> ExitReport:
        agent, console = self._machine.agent, self._machine.console
        agent.setblocking(False)
        with self._selector as selector:
            selector.register(agent, selectors.EVENT_READ)
            selector.register(console, selectors.EVENT_READ)
            while True:
                for key, mask in selector.select(self._remaining()):
                    if key.fileobj is console:
                        self._read_console()
                        continue
                    if mask & selectors.EVENT_WRITE:
                        self._send()
                    if mask & selectors.EVENT_READ and (report := self._read_agent()):
                        return report
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    raise self._too_late()

    def _remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _read_console(self) -> None:
        data = self._machine.console.recv(65536)
        if not data:
            self._selector.unregister(self._machine.console)
        self._console.feed(data)

    def _read_agent(self) -> ExitReport | None:
        try:
            data = self._machine.agent.recv(1 << 18)
        except BlockingIOError:
            return None
        except ConnectionError:
            data = b""
        if not data:
            raise self._ended()
        try:
            for kind, payload in self._decoder.feed(data):
                if kind is Frame.STDOUT:
                    self._output(1, payload)
                elif kind is Frame.STDERR:
                    self._output(2, payload)
                elif kind is Frame.EXIT:
                    return decode_exit(payload)
                else:
                    self._control(kind, payload)
        except WireError as error:
            raise VmError(f"the guest's port: {error}", console=self._console.tail()) from error
        return None

    def _control(self, kind: Frame, payload: bytes) -> None:
        if kind is Frame.HELLO:
            self._greeted = True
            self._to_send = _orders(self._job)
            self._send()
        elif kind is Frame.START:
            self._started = True
            timeout = self._job.timeout
            self._deadline = None if timeout is None else time.monotonic() + timeout
        elif kind is Frame.FAIL:
            text = payload.decode(errors="replace")
            raise BootError(
                f"the guest cannot run the command: {text}", console=self._console.tail()
            )

    def _send(self) -> None:
        agent = self._machine.agent
        while self._to_send:
            try:
                self._to_send = self._to_send[agent.send(self._to_send) :]
            except BlockingIOError:
                break
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._to_send else 0)
        self._selector.modify(agent, wanted)

    def _ended(self) -> VmError:
        """QEMU is gone without a status: say why as well as the console tells."""
        self._console.drain(self._machine.console)
        errors = self._machine.kill()
        tail = self._console.tail()
        if self._console.panicked():
            return self._panic(tail)
        if self._started:
            return VmError(
                f"the machine ended before the command did {errors}".rstrip(), console=tail
            )
        if not errors and not self._greeted:
            # A fault before the kernel can report any resets the machine, which ends it
            return BootPanicError("the machine reset itself", console=tail)
        return BootError(f"the machine ended during boot. {errors}".rstrip(), console=tail)

    def _panic(self, tail: tuple[str, ...]) -> VmError:
        kind = PanicError if self._greeted else BootPanicError
        return kind(f"the guest kernel panicked: {self._console.reason()}", console=tail)

    def _too_late(self) -> VmError:
        self._console.drain(self._machine.console)
        tail = self._console.tail()
        if self._console.panicked():
            return self._panic(tail)
        if self._started:
            return GuestTimeoutError(
                f"the command was still running after {self._job.timeout:g} s and was ended",
                console=tail,
            )
        return BootError(
            f"the guest did not reach its agent within {self._boot_seconds:g} s", console=tail
        )


def _orders(job: Job) -> bytes:
    records = [("cwd", str(job.cwd))]
    records += [("arg", argument) for argument in job.command]
    records += [("env", f"{key}={value}") for key, value in job.env.items()]
    # Parents first, so that a share below another finds its mount point.
    for share in sorted(job.shares, key=lambda share: len(share.path.parts)):
        mode = ("rc" if share.private else "rw") if share.writable else "ro"
        records.append(("share", f"{mode}:{share.tag}:{share.path}"))
    records += [("module", path) for path in job.modules]
    records += [("init", job.init)] * bool(job.init) + [("state", "1")] * job.state
    files = b"".join(encode_file(path, data) for path, data in job.files.items())
    return encode_config(records) + files + encode(Frame.GO)
