# SPDX-License-Identifier: MIT
"""The guest's serial console: its last lines, and whether they tell of a panic."""

from __future__ import annotations

import re
import socket

_KEEP_BYTES = 64 << 10
_TAIL_LINES = 40
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_PANIC = re.compile(r"Kernel panic - not syncing: *(.*)")
MARK = "fusebpf-running: "
"""Begins a line of the kernel's log by which the guest says what it does now."""

_OOPS = re.compile(r"(BUG: .*|Oops: .*|general protection fault.*|kernel BUG at .*)")


class Console:
    """Keeps the last 64 KiB of the console."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what the guest printed."""
        self._data += data
        del self._data[:-_KEEP_BYTES]

    def drain(self, source: socket.socket) -> None:
        """Add what is still in the socket, without waiting."""
        source.setblocking(False)
        try:
            while data := source.recv(65536):
                self.feed(data)
        except OSError:
            return

    def tail(self) -> tuple[str, ...]:
        """Return the last lines, after a panic all from it on, without control characters.

        The last line with MARK is among them.
        """
        lines = self._lines()
        start = max(0, len(lines) - _TAIL_LINES)
        panic = next((n for n, line in enumerate(lines) if _PANIC.search(line)), start)
        begin = min(start, panic)
        marked = [line for line in lines[:begin] if MARK in line][-1:]
        if any(MARK in line for line in lines[begin:]):
            marked = []
        return (*marked, *lines[begin:])

    def panicked(self) -> bool:
        """Tell whether the kernel panicked."""
        return _PANIC.search(self._text()) is not None

    def reason(self) -> str:
        """Return what the kernel called it: the oops if there was one, else the panic's words."""
        text = self._text()
        found = _OOPS.search(text) or _PANIC.search(text)
        return found[1].strip() if found else "no reason on the console"

    def _text(self) -> str:
        return _CONTROL.sub("", self._data.decode(errors="replace"))

    def _lines(self) -> list[str]:
        return [line.rstrip() for line in self._text().splitlines() if line.strip()]
