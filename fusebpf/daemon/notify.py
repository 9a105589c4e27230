# SPDX-License-Identifier: MIT
"""Messages from a daemon that nobody asked for: what the kernel cached has changed."""

from __future__ import annotations

from typing import Any, Protocol

from fusebpf.abi.protocol import NOTIFY, PROTOCOL_STRUCTS
from fusebpf.daemon import records


class _Writer(Protocol):
    def write(self, message: bytes) -> None: ...


def _message(code: str, body: bytes) -> bytes:
    layout = PROTOCOL_STRUCTS["fuse_out_header"]
    header = records.new(layout, len=layout.size + len(body), error=NOTIFY[code], unique=0)
    return records.pack(layout, header) + body


def _body(layout_name: str, **values: Any) -> bytes:
    layout = PROTOCOL_STRUCTS[layout_name]
    return records.pack(layout, records.new(layout, **values))


class Notify:
    """Sends notifications. Every method raises OSError: ENOENT when the kernel has no such node.

    Not to be called from a handler that answers a request on the same directory or file: the
    kernel takes locks that the waiting caller may hold.
    """

    def __init__(self, device: _Writer) -> None:
        self._device = device

    def inval_inode(self, nodeid: int, offset: int = 0, length: int = 0) -> None:
        """Drop cached attributes, and data from ``offset`` on (bytes; length 0: to the end).

        A negative offset leaves the data.
        """
        body = _body("fuse_notify_inval_inode_out", ino=nodeid, off=offset, len=length)
        self._device.write(_message("INVAL_INODE", body))

    def inval_entry(self, parent: int, name: bytes) -> None:
        """Drop a cached name of a directory."""
        body = _body("fuse_notify_inval_entry_out", parent=parent, namelen=len(name))
        self._device.write(_message("INVAL_ENTRY", body + name + b"\0"))

    def delete(self, parent: int, child: int, name: bytes) -> None:
        """A name is gone; users of the file are told as by unlink(2)."""
        body = _body("fuse_notify_delete_out", parent=parent, child=child, namelen=len(name))
        self._device.write(_message("DELETE", body + name + b"\0"))

    def store(self, nodeid: int, offset: int, data: bytes) -> None:
        """Put data into the kernel's cache of a file; ``offset`` in bytes."""
        body = _body("fuse_notify_store_out", nodeid=nodeid, offset=offset, size=len(data))
        self._device.write(_message("STORE", body + data))

    def poll(self, kh: int) -> None:
        """Wake whoever polls; ``kh`` came with the POLL request."""
        self._device.write(_message("POLL", _body("fuse_notify_poll_wakeup_out", kh=kh)))

    def resend(self) -> None:
        """Have every request that was read and not answered sent again."""
        self._device.write(_message("RESEND", b""))
