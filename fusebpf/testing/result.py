# SPDX-License-Identifier: MIT
"""What a call of a filter did, for the author of a test to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusebpf.dsl.values import Verdict
from fusebpf.testing.case import Entry


@dataclass(frozen=True)
class Place:
    """A line of a file, and its text."""

    file: str
    line: int
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Decision(Verdict):
    """A verdict that knows what it was the answer to; equal to the same verdict without."""

    __slots__ = ("result",)

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.result: Result | None = None


@dataclass(frozen=True, repr=False)
class Result:
    """What a call did. Names and buffers are bytes, structs those of the filter's annotations.

    ``arguments`` holds every struct, name and buffer after the call, ``changed`` the values of
    those that are not as before, by dotted path. ``decided`` is the line that gave the verdict,
    None where the set has no filter to ask; ``trace`` is every line that ran, in order.
    """

    call: str
    run: str
    verdict: Verdict
    arguments: Mapping[str, Any]
    changed: Mapping[str, Any]
    entries: tuple[Entry, ...]
    #: The tag that a lookup filter set, or None.
    tag: int | None
    #: Whether an error was cleared, and for how many ns the answer of a lookup holds.
    cleared: bool
    kept_ns: int
    #: Events sent, by name: instances of their dataclass.
    events: Mapping[str, tuple[Any, ...]]
    decided: Place | None
    trace: tuple[Place, ...]
    #: Of a postfilter that a mount never asks: why not.
    idle: str | None = None

    @property
    def names(self) -> tuple[bytes, ...]:
        """The names of the entries that stay in the listing."""
        return tuple(entry.name for entry in self.entries)

    def __repr__(self) -> str:
        return f"<{self.call} -> {self.verdict!r}, {self.why}>"

    @property
    def why(self) -> str:
        """Which line decided, in words."""
        return f"decided at {self.decided}" if self.decided else "no filter was asked"

    def describe(self) -> str:
        """Everything that a call did, for whoever reads why a test failed."""
        lines = [f"{self.call} -> {self.verdict!r}   [{self.run} run]", f"  {self.why}"]
        lines += [f"  on a mount {self.idle}"] if self.idle else []
        lines += [f"  {path} = {value!r}" for path, value in self.changed.items()]
        if self.tag is not None:
            lines.append(f"  ctx.tag = {self.tag}")
        lines += [f"  event {name}: {e!r}" for name, sent in self.events.items() for e in sent]
        return "\n".join(lines)
