# SPDX-License-Identifier: MIT
"""Names that are not there, or that nobody gets at."""

from __future__ import annotations

from fusebpf.compiler.globs import Run, segments
from fusebpf.constants import EACCES
from fusebpf.dsl import Context, DslError, FilterSet, Name, Verdict
from fusebpf.dsl.values import CONTINUE, Errno

_EVERY = frozenset(range(256))
_CAPITALS = frozenset(range(ord("A"), ord("Z") + 1))


def hide(*patterns: str, ignore_case: bool = False, name: str = "hide") -> FilterSet:
    """Names that match do not exist: in no lookup, listing, or change of a name.

    ``patterns`` are globs (``*``, ``?``, ``[...]``); ``ignore_case`` takes ASCII letters as equal.
    To look one up, make, move or remove it gives ENOENT. Raises ``DslError`` without patterns.
    """
    wanted = _patterns("hide", patterns, ignore_case)
    filters = FilterSet(name)

    @filters.visible
    def other_name(ctx: Context, name: Name) -> bool:
        return not (name.lower().glob(wanted) if ignore_case else name.glob(wanted))

    return filters


def deny(
    *patterns: str, errno: Errno = EACCES, ignore_case: bool = False, name: str = "deny"
) -> FilterSet:
    """Names that match are listed, and everything else about them is refused with ``errno``.

    Opening, stat, removing, moving, making: all begin by looking the name up. ``patterns`` and
    ``ignore_case`` are those of ``hide``. Raises ``DslError`` without patterns.
    """
    wanted = _patterns("deny", patterns, ignore_case)
    filters = FilterSet(name)

    @filters.lookup.pre
    def denied(ctx: Context, name: Name) -> Verdict:
        matches = name.lower().glob(wanted) if ignore_case else name.glob(wanted)
        return -errno if matches else CONTINUE

    return filters


def _patterns(what: str, patterns: tuple[str, ...], ignore_case: bool) -> tuple[str, ...]:
    if not patterns or not all(isinstance(p, str) and p for p in patterns):
        raise DslError(
            "E130",
            f"{what}() takes patterns of names, not {', '.join(map(repr, patterns)) or 'nothing'}",
            f"e.g. {what}('*.pem', '.env')",
            word=what,
        )
    return tuple(_folded(what, p) for p in patterns) if ignore_case else patterns


def _folded(what: str, pattern: str) -> str:
    """A pattern for names in lower case. Raises ``DslError`` where it has a class without one."""
    lower = "".join(char.lower() if char.isascii() else char for char in pattern)
    for before, after in zip(_classes(pattern), _classes(lower), strict=True):
        if frozenset(bytes(before).lower()) != after - _CAPITALS:
            raise DslError(
                "E130",
                f"{what}() is to ignore case, and {pattern!r} has a range of letters and others",
                "give letters a range of their own, e.g. '[A-Z_]'",
                word=what,
            )
    return lower


def _classes(pattern: str) -> list[frozenset[int]]:
    """What each class of a pattern names, be it to take it or not."""
    raw = pattern.encode(errors="surrogatepass")
    items = [item for part in segments(raw) for item in part.items]
    found = [item.allowed for item in items if not isinstance(item, Run)]
    # More than half of all bytes is a class that begins with "!".
    return [allowed if len(allowed) <= 128 else _EVERY - allowed for allowed in found]
