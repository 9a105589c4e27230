# SPDX-License-Identifier: MIT
"""Errors that a user meets: what is wrong, how to mend it, and the exit status they end in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusebpf.compiler import Diagnostic

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_REJECTED = 3
EXIT_NO_FUSE_BPF = 4
EXIT_PERMISSION = 5

EXIT_CODES = {
    0: "done",
    EXIT_FAILURE: "failed: the message says why and how to mend it",
    EXIT_USAGE: "wrong usage",
    EXIT_REJECTED: "the filter file, or the file of rules, was rejected",
    EXIT_NO_FUSE_BPF: "the kernel has no fuse-bpf: load the module, or use `fusebpf vm run`",
    EXIT_PERMISSION: "not permitted: root is needed",
    130: "interrupted",
}
"""What the status of a command means; the table of docs/commands.md and of the man pages."""


class FusebpfError(Exception):
    """Base of every error of this package.

    `message` says what is wrong in one or two lines; `help` says how to mend it, or is None.
    `exit_code` is the status that the command line ends with.
    """

    exit_code = EXIT_FAILURE
    #: Findings of the filter file that it comes from, and the texts of the files they name.
    diagnostics: tuple[Diagnostic, ...] = ()
    sources: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help

    def __str__(self) -> str:
        return self.message if self.help is None else f"{self.message}\nhelp: {self.help}"


class UsageError(FusebpfError):
    """The arguments cannot be meant: wrong kind of path, options that exclude each other."""

    exit_code = EXIT_USAGE


class UnsupportedKernelError(FusebpfError):
    """The running kernel has no fuse-bpf, or lacks what a filter needs of it."""

    exit_code = EXIT_NO_FUSE_BPF


class PrivilegeError(FusebpfError):
    """The caller may not do this: loading BPF and mounting need root."""

    exit_code = EXIT_PERMISSION
