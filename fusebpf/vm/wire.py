# SPDX-License-Identifier: MIT
"""Frames between the runner and the guest's agent: u32 type, u32 length, payload (little endian).

``guest/agent.c`` has the other end and the same numbers.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("<II")
_EXIT = struct.Struct("<IIQ")
_MAX_FROM_GUEST = 64 << 10


class Frame(enum.IntEnum):
    """What a frame carries."""

    HELLO = 1
    STDOUT = 2
    STDERR = 3
    EXIT = 4
    FAIL = 5
    START = 6
    CONFIG = 16
    FILE = 17
    GO = 18


class WireError(Exception):
    """The guest sent what is no frame: something else writes to the port."""


@dataclass(frozen=True)
class ExitReport:
    """The command's status (128 + signal when one killed it) and the kernel's taint bits."""

    status: int
    taint: int


def encode(kind: Frame, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return _HEADER.pack(kind, len(payload)) + payload


def encode_config(records: Iterable[tuple[str, str]]) -> bytes:
    """Return a CONFIG frame of ``key=value`` records.

    Raises:
        ValueError: a value holds a NUL, which ends a record.
    """
    out = bytearray()
    for key, value in records:
        if "\0" in value:
            raise ValueError(f"{key} holds a NUL byte: {value!r}")
        out += f"{key}={value}".encode(errors="surrogateescape") + b"\0"
    return encode(Frame.CONFIG, bytes(out))


def encode_file(path: str, data: bytes) -> bytes:
    """Return a FILE frame: ``data`` written at ``path`` (below /run/fusebpf if relative)."""
    return encode(Frame.FILE, path.encode() + b"\0" + data)


def decode_exit(payload: bytes) -> ExitReport:
    """Decode the payload of an EXIT frame."""
    if len(payload) != _EXIT.size:
        raise WireError(f"exit frame of {len(payload)} bytes")
    status, _, taint = _EXIT.unpack(payload)
    return ExitReport(status, taint)


class Decoder:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Frame, bytes]]:
        """Add ``data``; yield every frame that is complete.

        Raises:
            WireError: an unknown type, or a length no agent sends.
        """
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEADER.size:
            number, length = _HEADER.unpack_from(self._buffer, at)
            if number not in Frame._value2member_map_ or length > _MAX_FROM_GUEST:
                raise WireError(f"no frame: type {number}, length {length}")
            end = at + _HEADER.size + length
            if len(self._buffer) < end:
                break
            yield Frame(number), bytes(self._buffer[at + _HEADER.size : end])
            at = end
        del self._buffer[:at]
