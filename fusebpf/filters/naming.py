# SPDX-License-Identifier: MIT
"""Names that are not there, or that nobody gets at."""

from __future__ import annotations

from fusebpf.constants import EACCES
from fusebpf.dsl import Context, DslError, FilterSet, Name, Verdict
from fusebpf.dsl.values import CONTINUE, Errno


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
    return tuple(p.lower() for p in patterns) if ignore_case else patterns
