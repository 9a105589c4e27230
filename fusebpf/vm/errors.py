# SPDX-License-Identifier: MIT
"""The ways a VM run fails that are not the command's own exit status."""

from __future__ import annotations

from fusebpf.errors import FusebpfError

EXIT_TIMEOUT = 124
"""Exit status when the command outlived ``--timeout`` (as timeout(1) gives)."""
EXIT_VM = 125
"""Exit status when the machine, not the command, failed: no boot, panic, oops, missing tool."""


class VmError(FusebpfError):
    """The machine failed. ``console`` holds the last lines of the guest's console, if any."""

    exit_code = EXIT_VM

    def __init__(
        self, message: str, help: str | None = None, *, console: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, help)
        self.console = console


class PrepareError(VmError):
    """The guest root, the kernel or the module could not be prepared."""


class BootError(VmError):
    """The guest did not reach its agent, or the agent could not set the machine up."""


class PanicError(VmError):
    """The guest kernel panicked or oopsed (an oops is made a panic)."""


class BootPanicError(PanicError):
    """The panic, or a reset, came before the agent ran: nothing of ours was in the guest yet."""


class GuestTimeoutError(VmError):
    """The command was still running when its time was over; the machine was killed."""

    exit_code = EXIT_TIMEOUT
