# SPDX-License-Identifier: MIT
"""Mounts that are held to rules."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, MutableMapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from fusebpf.errors import UsageError
from fusebpf.guard.automaton import Automaton, Callers, build
from fusebpf.guard.objects import compiled
from fusebpf.guard.rules import Rules, State
from fusebpf.guard.tags import NEXT, NONE, NOWHERE, ROOT, Table, number, states_of

if TYPE_CHECKING:
    from fusebpf.objfile import ObjectBytes
    from fusebpf.runtime import Mount

_LEAST_STATES = 256
#: Marks the tags of ``Table.mixed`` where names end; filters do not look at it.
_MIXED = 1 << 16
_MAPS = ("guard_states", "guard_ends", "guard_outcomes", "guard_uids", "guard_gids")
_Maps = Mapping[str, MutableMapping[Any, Any]]


def mount(
    rules: Rules,
    lower: str | os.PathLike[str],
    mountpoint: str | os.PathLike[str],
    audit: bool = False,
) -> Mount:
    """Mount ``lower`` at ``mountpoint``, held to rules from the first operation on.

    ``audit``: with events of what is refused (fusebpf.guard.audit). Raises TooLargeError, and what
    ``fusebpf.attach`` raises.
    """
    from fusebpf.runtime import attach

    made = build(rules)
    table = number(made)
    filters = _object(made, audit, states_of(table))
    return attach(filters, lower, mountpoint, prepare=partial(_store, table))


def update(rules: Rules, mountpoint: str | os.PathLike[str]) -> None:
    """Hold a mount of ``mount`` to other rules; after an error the old ones hold as before.

    Every operation is decided by the old rules or by the new ones; when this returns, by the new
    ones. Raises TooLargeError, UsageError when no mount of ours is there, and what
    ``fusebpf.runtime.replace`` raises.
    """
    from fusebpf.guard.filters import EVENTS
    from fusebpf.runtime import mounts, replace

    mounts.filtered(mountpoint, "guard update")
    with mounts.open(mountpoint) as there:
        audit = EVENTS in there.events
    made = build(rules)
    served = states_of(number(made))

    def prepare(maps: _Maps) -> None:
        # Put in force only if the filters are still those that this reads.
        with mounts.open(mountpoint) as there:
            table = number(made, _read(there.maps, mountpoint))
        if not states_of(table) <= served:
            raise _OtherStatesError(states_of(table))
        _store(table, maps)

    while True:
        try:
            replace(mountpoint, _object(made, audit, served), fresh=_MAPS, prepare=prepare)
        except _OtherStatesError as others:
            served |= others.states
        else:
            return


class _OtherStatesError(Exception):
    """What was open under the rules before is of more states than the filters serve."""

    def __init__(self, states: frozenset[State]) -> None:
        super().__init__()
        self.states = states


def _object(made: Automaton, audit: bool, states: frozenset[State]) -> ObjectBytes:
    # Powers of 2, so that most rules need no other object than others before.
    rows = max(_LEAST_STATES, 1 << (len(made.rows) - 1).bit_length())
    callers = len(made.callers.examples) > 1
    return compiled(rows, callers, audit, State.DENY in states, State.EMPTY in states)


def _store(table: Table, maps: _Maps) -> None:
    rows, ends, outcomes = (maps[name] for name in _MAPS[:3])
    for state, row in enumerate(table.rows):
        rows[state] = array("H", row).tobytes()
    for state, tag in enumerate(table.ends):
        ends[state] = tag | (_MIXED if tag in table.mixed else 0)
    if len(table.rows) <= NOWHERE < len(rows):
        rows[NOWHERE] = array("H", [NOWHERE] * 256).tobytes()
        ends[NOWHERE] = NONE
    for tag, outcome in table.outcomes.items():
        outcomes[tag] = outcome
    outcomes[NEXT] = table.following | table.given << 32
    for name, numbers in (("guard_uids", table.callers.uids), ("guard_gids", table.callers.gids)):
        for who, number_of in numbers.items():
            maps[name][who] = number_of


def _read(maps: Mapping[str, Any], mountpoint: str | os.PathLike[str]) -> Table:
    if not {*_MAPS[:3]} <= {*maps}:
        raise UsageError(
            f"{mountpoint} is held to filters, not to rules by path",
            f"give it other filters: fusebpf replace {mountpoint} FILTERS\n"
            "or mount it by rules: fusebpf guard mount --rules FILE LOWER MNT",
        )
    outcomes = maps["guard_outcomes"]
    callers = Callers(dict(maps.get("guard_uids", {})), dict(maps.get("guard_gids", {})), ())
    counts = outcomes[NEXT]
    following, given = counts & 0xFFFFFFFF, counts >> 32
    there = {tag: outcomes[tag] for tag in (ROOT, *range(1, given))}
    rows = _Rows(maps["guard_states"])
    marked = [maps["guard_ends"][state] for state in range(len(rows))]
    ends = [tag & ~_MIXED for tag in marked]
    mixed = frozenset(tag & ~_MIXED for tag in marked if tag & _MIXED)
    return Table(rows, ends, there, callers, following, given, mixed)


class _Rows(Sequence[tuple[int, ...]]):
    """The states in the kernel, of which each is read once, when it is asked for."""

    def __init__(self, view: Mapping[int, Any]) -> None:
        self._view = view
        self._known: dict[int, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._view)

    @overload
    def __getitem__(self, index: int) -> tuple[int, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, ...]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, ...] | list[tuple[int, ...]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index not in self._known:
            self._known[index] = tuple(vars(self._view[index]).values())
        return self._known[index]
