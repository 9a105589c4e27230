# SPDX-License-Identifier: MIT
"""Daemons: user space that serves a FUSE mount, alone or beside filters and a backed directory."""

from fusebpf.daemon.device import Device
from fusebpf.daemon.errors import DaemonError, ProtocolError
from fusebpf.daemon.handlers import Daemon
from fusebpf.daemon.mounting import mount
from fusebpf.daemon.notify import Notify
from fusebpf.daemon.server import Server, serve
from fusebpf.daemon.wire import Backing, Call, Entry, Program, RemoveBacking, RemoveProgram

__all__ = [
    "Backing",
    "Call",
    "Daemon",
    "DaemonError",
    "Device",
    "Entry",
    "Notify",
    "Program",
    "ProtocolError",
    "RemoveBacking",
    "RemoveProgram",
    "Server",
    "mount",
    "serve",
]
