# SPDX-License-Identifier: MIT
"""What a misspelled word was meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is the fewest slips away from ``word``; None when none is near.

    A slip is a letter too many, missing, another one, or two that changed places (which difflib
    does not know). One slip in three letters is allowed; upper and lower case do not count.
    """
    allowed = max(1, len(word) // 3)
    best: tuple[int, int, str] | None = None
    for other in dict.fromkeys(known):
        if abs(len(other) - len(word)) > allowed or other == word:
            continue
        slips = _distance(word.lower(), other.lower(), allowed)
        if slips <= allowed and len(other) > slips:
            # Among equals, the one that shares more of its beginning.
            found = (slips, -_shared(word, other), other)
            best = found if best is None else min(best, found)
    return None if best is None else best[2]


def _shared(a: str, b: str) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


def _distance(a: str, b: str, limit: int) -> int:
    """Slips between two words; more than ``limit`` counts as one more than it."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2]:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before, last = last, row
    return last[-1]
