# SPDX-License-Identifier: MIT
"""Verdicts and error numbers: two types that are not integers.

The first five error numbers are also the numbers of verdicts, so a forgotten minus would turn a
refusal into a pass. ``-ENOENT`` is a Verdict; ENOENT alone is not.
"""

from __future__ import annotations

import errno
import sys

#: The largest error number that a filter can give: above are codes internal to the kernel
#: (include/linux/errno.h).
MAX_ERRNO = 511

_NAMES = ("CONTINUE", "USER", "USER_PREFILTER", "POSTFILTER", "USER_POSTFILTER", "CALL_DEFAULT")


class Verdict:
    """What a filter decides: one of the constants below, or a negated errno.

    Raises ``ValueError`` when ``value`` is neither 0…5 nor -511…-1.
    """

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        if not -MAX_ERRNO <= value < len(_NAMES):
            raise ValueError(f"{value} is not a verdict")
        self.value = value

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Verdict):
            return self.value == other.value
        return self.value == other if isinstance(other, int) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)

    def __bool__(self) -> bool:
        raise TypeError("a Verdict has no truth value: compare it, e.g. with CONTINUE")

    def __repr__(self) -> str:
        if self.value >= 0:
            return _NAMES[self.value]
        return f"-{errno.errorcode.get(-self.value, f'Errno({-self.value})')}"


class Errno:
    """An error number; ``-Errno`` is the verdict that refuses with it."""

    __slots__ = ("name", "value")

    def __init__(self, value: int, name: str) -> None:
        self.value = value
        self.name = name

    def __neg__(self) -> Verdict:
        return Verdict(-self.value)

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, Errno) else NotImplemented

    def __hash__(self) -> int:
        return hash(("Errno", self.value))

    def __repr__(self) -> str:
        return self.name


def refuse(errno: int | Errno) -> Verdict:
    """The refusal with a computed error number; its sign is ignored, its size clamped to 1…511."""
    number = errno.value if isinstance(errno, Errno) else abs(int(errno))
    return Verdict(-min(max(number, 1), MAX_ERRNO))


def debug(*parts: object) -> None:
    """Print texts and numbers, with spaces between them, for whoever develops the filter.

    In the kernel they go to /sys/kernel/tracing/trace_pipe, in plain Python to stderr.
    """
    print(*parts, file=sys.stderr)


#: Prefilter: run the operation. Postfilter: its result stands.
CONTINUE = Verdict(0)
#: Prefilter: the daemon handles the operation as classic FUSE.
USER = Verdict(1)
#: Prefilter: ask the daemon's prefilter first, then run the operation.
USER_PREFILTER = Verdict(2)
#: Prefilter: run the operation, then the postfilter.
POSTFILTER = Verdict(3)
#: Ask the daemon's postfilter after the operation.
USER_POSTFILTER = Verdict(4)
#: Let the set's default filter decide.
CALL_DEFAULT = Verdict(5)
