# SPDX-License-Identifier: MIT
"""Patterns of names as an automaton: they can be changed while a mount is in use."""

from __future__ import annotations

from collections.abc import Iterable

from fusebpf.compiler.globs import Run, segments
from fusebpf.dsl import Context, FilterSet, Name

_Place = tuple[int, int]


def transitions(patterns: Iterable[str]) -> list[tuple[int, ...]]:
    """The states of an automaton that accepts the names which match any of some globs.

    Each is the row of an ``automaton``: the next state for each byte. It begins in state 0, and
    those with an odd number accept.
    """
    steps = [_steps(pattern.encode()) for pattern in patterns]
    start = frozenset((i, 0) for i in range(len(steps)))
    numbers: dict[frozenset[_Place], int] = {}
    rows: dict[int, tuple[int, ...]] = {}
    used = [2, 1]  # next numbers of states that do not accept, and of those that do

    def number(places: frozenset[_Place]) -> int:
        if places not in numbers:
            accepts = int(any(at == len(steps[i]) or _rest(steps[i], at) for i, at in places))
            numbers[places] = used[accepts]
            used[accepts] += 2
            pending.append((numbers[places], places))
        return numbers[places]

    pending = [(0, start)]
    while pending:
        state, places = pending.pop()
        found: list[frozenset[_Place]] = []
        for byte in range(256):
            after = {place for i, at in places for place in _after(steps[i], i, at, byte)}
            found.append(frozenset(after))
        rows[state] = tuple(number(after) for after in found)
    nothing = tuple([0] * 256)
    return [rows.get(state, nothing) for state in range(max(rows) + 1)]


def _steps(pattern: bytes) -> list[frozenset[int] | None]:
    """What each step takes: a byte of some, or (None) any number of bytes."""
    out: list[frozenset[int] | None] = []
    for index, part in enumerate(segments(pattern)):
        if index:
            out.append(None)
        for item in part.items:
            out += (
                [frozenset({byte}) for byte in item.text]
                if isinstance(item, Run)
                else [item.allowed]
            )
    return out


def _rest(steps: list[frozenset[int] | None], at: int) -> bool:
    """Whether nothing more is needed."""
    return all(step is None for step in steps[at:])


def _after(steps: list[frozenset[int] | None], i: int, at: int, byte: int) -> Iterable[_Place]:
    while at < len(steps):
        step = steps[at]
        if step is not None:
            if byte in step:
                yield i, at + 1
            return
        yield i, at
        at += 1


def hide_listed(*, states: int = 256, name: str = "hidden") -> FilterSet:
    """As ``hide``, with patterns that are chosen while the mount is in use; none at first.

    ``for state, row in enumerate(transitions(patterns)): mount.maps[name][state] = row``, from the
    last state to the first, sets them; ``states`` is how many there can be. Where a row leads to a
    state that there is none of, the name is hidden. Every lookup asks. While other patterns are
    stored, a name may be judged by rows of both, and be shown or hidden by neither alone.
    """
    filters = FilterSet(name)
    rules = filters.automaton(name, states=states)

    @filters.visible
    def unlisted(ctx: Context, name: Name) -> bool:
        state = rules.walk(name)
        return state >= 0 and state & 1 == 0

    return filters
