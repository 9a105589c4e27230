# SPDX-License-Identifier: MIT
"""Errors of daemons."""

from __future__ import annotations

from fusebpf.errors import FusebpfError


class DaemonError(FusebpfError):
    """A daemon's class cannot be served: a method that no request calls, a result of no use."""


class ProtocolError(FusebpfError):
    """A message that is not as the protocol has it."""
