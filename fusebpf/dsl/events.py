# SPDX-License-Identifier: MIT
"""Events: records that filters send to user space, in the order they were made."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from fusebpf.abi.record import Record

T = TypeVar("T")


class Events(Generic[T]):
    """A declared kind of event; ``size`` is that of its ring in bytes.

    In plain Python, ``emit`` keeps the events in ``emitted``.
    """

    def __init__(self, name: str, cls: type[T], record: Record, size: int) -> None:
        self.name = name
        self.cls: type[Any] = cls
        self.record = record
        self.size = size
        self.emitted: list[T] = []

    def __repr__(self) -> str:
        return f"<events {self.name!r} of {self.cls.__name__}>"

    def emit(self, event: T) -> None:
        """Send one event. When the ring is full it is dropped, and counted."""
        self.emitted.append(event)
