# SPDX-License-Identifier: MIT
"""Glob patterns, taken apart while the filter is compiled.

The rules are those of ``fnmatch.fnmatchcase`` on bytes: ``*`` is any run of bytes, ``?`` one byte,
``[...]`` one byte of a class, ``[!...]`` one that is not in it; a leading dot is not special. What
a class holds is asked of ``fnmatch`` itself, byte by byte.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from fusebpf.frozen import dataclass

_EVERY = frozenset(range(256))


@dataclass(frozen=True)
class Run:
    """Literal bytes, one after the other."""

    text: bytes


@dataclass(frozen=True)
class One:
    """One byte out of a class."""

    allowed: frozenset[int]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First and last byte of every run of allowed bytes."""
        found: list[tuple[int, int]] = []
        for byte in sorted(self.allowed):
            if found and found[-1][1] == byte - 1:
                found[-1] = (found[-1][0], byte)
            else:
                found.append((byte, byte))
        return tuple(found)


@dataclass(frozen=True)
class Segment:
    """What stands between two stars."""

    items: tuple[Run | One, ...]

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return sum(len(item.text) if isinstance(item, Run) else 1 for item in self.items)


def segments(pattern: bytes) -> tuple[Segment, ...]:
    """The parts of a pattern between its stars; one when it has none."""
    found: list[Segment] = []
    items: list[Run | One] = []
    at = 0
    while at < len(pattern):
        char = pattern[at : at + 1]
        at += 1
        if char == b"*":
            found.append(Segment(tuple(items)))
            items = []
        elif char == b"?":
            items.append(One(_EVERY))
        elif char == b"[" and (end := _class_end(pattern, at)):
            items.append(One(_class(pattern[at - 1 : end])))
            at = end
        elif items and isinstance(items[-1], Run):
            items[-1] = Run(items[-1].text + char)
        else:
            items.append(Run(char))
    last = Segment(tuple(items))
    # Empty parts between stars add nothing: "a**b" is "a*b".
    return (*found[:1], *(part for part in found[1:] if part.items), last)


def unusual_class(pattern: bytes) -> bool:
    """Whether a class holds a character of several bytes, which a class of bytes cannot mean."""
    at = 0
    while (at := pattern.find(b"[", at) + 1) > 0:
        if end := _class_end(pattern, at):
            if not pattern[at:end].isascii():
                return True
            at = end
    return False


def _class_end(pattern: bytes, at: int) -> int:
    """Where a class that opens before ``at`` ends, behind its bracket; 0 when it never does."""
    if pattern[at : at + 1] == b"!":
        at += 1
    if pattern[at : at + 1] == b"]":
        at += 1
    return pattern.find(b"]", at) + 1


def _class(text: bytes) -> frozenset[int]:
    return frozenset(byte for byte in range(256) if fnmatchcase(bytes([byte]), text))


def literal(text: bytes) -> bytes:
    """A pattern that matches ``text`` only."""
    return b"".join(b"[" + bytes([b]) + b"]" if b in b"*?[" else bytes([b]) for b in text)
