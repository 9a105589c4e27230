# SPDX-License-Identifier: MIT
"""Mounts that are held to rules."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from fusebpf.guard.automaton import Automaton, build
from fusebpf.guard.filters import filters
from fusebpf.guard.rules import Rules

if TYPE_CHECKING:
    from fusebpf.runtime import Mount

_LEAST_STATES = 256


def mount(rules: Rules, lower: str | os.PathLike[str], mountpoint: str | os.PathLike[str]) -> Mount:
    """Mount ``lower`` at ``mountpoint``, held to rules from the first operation on.

    Raises TooLargeError, and what ``fusebpf.attach`` raises.
    """
    from fusebpf.runtime import attach

    made = build(rules)
    # Powers of 2, so that most rules need no other object than others before.
    states = max(_LEAST_STATES, 1 << (len(made.rows) - 1).bit_length())
    fset = filters(states, len(made.callers.examples) > 1)
    return attach(fset, lower, mountpoint, prepare=partial(_store, made))


def _store(made: Automaton, maps: Mapping[str, MutableMapping[Any, Any]]) -> None:
    for state, row in enumerate(made.rows):
        maps["guard_states"][state] = row.tobytes()
    for state, tag in enumerate(made.outcomes):
        maps["guard_outcomes"][state] = tag
    if len(made.callers.examples) > 1:
        for uid, number in made.callers.uids.items():
            maps["guard_uids"][uid] = number
        for gid, number in made.callers.gids.items():
            maps["guard_gids"][gid] = number
