# SPDX-License-Identifier: MIT
"""Mounts that are held to rules."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from fusebpf.guard.automaton import Automaton, build
from fusebpf.guard.filters import filters
from fusebpf.guard.rules import Rules
from fusebpf.guard.tags import NEXT, NONE, NOWHERE, Table, number

if TYPE_CHECKING:
    from fusebpf.dsl import FilterSet
    from fusebpf.runtime import Mount

_LEAST_STATES = 256
#: Marks the tags of ``Table.mixed`` where names end; filters do not look at it.
_MIXED = 1 << 16
_MAPS = ("guard_states", "guard_ends", "guard_outcomes", "guard_uids", "guard_gids")
_Maps = Mapping[str, MutableMapping[Any, Any]]


def mount(rules: Rules, lower: str | os.PathLike[str], mountpoint: str | os.PathLike[str]) -> Mount:
    """Mount ``lower`` at ``mountpoint``, held to rules from the first operation on.

    Raises TooLargeError, and what ``fusebpf.attach`` raises.
    """
    from fusebpf.runtime import attach

    made = build(rules)
    return attach(_filters(made), lower, mountpoint, prepare=partial(_store, number(made)))


def _filters(made: Automaton) -> FilterSet:
    # Powers of 2, so that most rules need no other object than others before.
    states = max(_LEAST_STATES, 1 << (len(made.rows) - 1).bit_length())
    return filters(states, len(made.callers.examples) > 1)


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
