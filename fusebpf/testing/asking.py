# SPDX-License-Identifier: MIT
"""Which filters a hook asks, and what they say together: as on a mount."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fusebpf.abi import DEFAULT_FILTER, Hook
from fusebpf.compiler import ir
from fusebpf.dsl.values import CALL_DEFAULT, CONTINUE, POSTFILTER
from fusebpf.testing.case import Case, Outcome
from fusebpf.testing.pyrun import Step

_EIO = 5


@dataclass(frozen=True)
class Asked:
    """What came of a hook: the line that decided, None where no filter was asked; all that ran."""

    outcome: Outcome
    decided: Step | None = None
    steps: tuple[Step, ...] = ()


def ask(
    filters: Mapping[str | None, ir.Function],
    hook: Hook,
    case: Case,
    run: Callable[[ir.Function, Case], Asked],
) -> Asked:
    """Ask the filter of a hook, and the default filter where there is none or it says so.

    ``filters`` are those of the set by hook, ``run`` calls one of them.
    """
    default = filters.get(DEFAULT_FILTER.name)
    own = None if hook is DEFAULT_FILTER else filters.get(hook.name)
    if own is None:
        return _without(filters, hook, case) if default is None else _default(default, case, run)
    first = run(own, case)
    if first.outcome.verdict != CALL_DEFAULT.value:
        return first
    if default is None:
        return replace(first, outcome=replace(first.outcome, verdict=CONTINUE.value))
    # It finds maps and events as the first left them; a tag is set when the operation ends.
    second = _default(default, replace(case, maps=first.outcome.maps), run)
    return Asked(_joined(first.outcome, second.outcome), second.decided, first.steps + second.steps)


def _without(filters: Mapping[str | None, ir.Function], hook: Hook, case: Case) -> Asked:
    """Nobody is asked. A postfilter alone has nobody to ask for it, and is."""
    asks = hook.phase == "pre" and f"{hook.op}_postfilter" in filters
    verdict = POSTFILTER if asks else CONTINUE
    return Asked(Outcome(verdict.value, case.structs, case.listing, None, case.maps))


def _default(function: ir.Function, case: Case, run: Callable[[ir.Function, Case], Asked]) -> Asked:
    asked = run(function, case)
    if asked.outcome.verdict != CALL_DEFAULT.value:
        return asked
    # There is nothing further to defer to.
    return replace(asked, outcome=replace(asked.outcome, verdict=-_EIO))


def _joined(first: Outcome, second: Outcome) -> Outcome:
    """Two outcomes of one operation; the second is of the default filter, without arguments."""
    names = first.events | second.events
    return replace(
        first,
        verdict=second.verdict,
        tag=first.tag if second.tag is None else second.tag,
        maps=second.maps,
        events={name: first.events.get(name, ()) + second.events.get(name, ()) for name in names},
        cleared=first.cleared or second.cleared,
        kept_ns=second.kept_ns or first.kept_ns,
    )
