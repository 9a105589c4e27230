# SPDX-License-Identifier: MIT
"""The numbers that the kernel part keeps with entries: policy tags.

A tag is a number for an outcome of the automaton, and a table says what it stands for under the
rules in force. So an entry that somebody holds while the rules are replaced is what the new rules
say, if its number stands for that in the new table. It does where the two sets of rules agree
which entries are alike; the kernel part asks the others anew, and finds that their tag changed.

A number that the rules before gave to entries is never given to entries of which it would say
less than both sets of rules do:

* it is kept where all entries that ever had it are one in the new rules, too, or where these say
  the same of the entry itself;
* else it keeps what it said of the entry itself, for descriptors that are open, and leads nowhere:
  names below it are ESTALE;
* a new number is one that was not used for as long as possible.

An outcome in the table is that of the automaton with 1 added to each state: 0 is no state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fusebpf.frozen import dataclass
from fusebpf.guard.automaton import (
    CALLER_BITS,
    DIRECTORY_SHIFT,
    MAX_CALLERS,
    OTHER_SHIFT,
    STATES,
    Automaton,
    Callers,
    TooLargeError,
)
from fusebpf.guard.rules import State

#: The tag of the root, and of nothing else: it can have no other.
ROOT = 0
#: Where the table has what is no outcome: the number to be given next, and how many ever were.
NEXT = 0xFFFE
#: Stands for nothing: the tag of what is not to be found.
NONE = 0xFFFF
#: Where names below an outcome begin that leads nowhere.
NOWHERE = 0xFFFF
#: 1 for each kind of caller, as a directory and as anything else.
_ONES = sum(1 << DIRECTORY_SHIFT + CALLER_BITS * n for n in range(2 * MAX_CALLERS))
#: Pairs of states that are looked at before a number is kept only where both say the same.
_MOST_PAIRS = 1 << 18


@dataclass(frozen=True)
class Table:
    """An automaton as it is in the kernel.

    ``ends[state]`` is the tag at the end of a name, ``outcomes[tag]`` what it stands for.
    """

    rows: Sequence[Sequence[int]]
    ends: Sequence[int]
    outcomes: Mapping[int, int]
    callers: Callers
    #: The number to be given next, and how many were ever given.
    following: int
    given: int
    #: Tags that entries may be held by which are others now: they say the same for ever.
    mixed: frozenset[int] = frozenset()

    def enter(self, tag: int, name: bytes) -> int:
        """The tag of a name in a directory with a tag."""
        state = self.outcomes.get(tag, 0) & 0xFFFF
        for byte in name:
            if state >= len(self.rows):
                return NONE
            state = self.rows[state][byte]
        return self.ends[state]


def states_of(table: Table) -> frozenset[State]:
    """The states that any entry is of, to any caller; also those that are only held open."""
    found: set[int] = set()
    for says in {outcome >> DIRECTORY_SHIFT for outcome in table.outcomes.values()}:
        found.update(says >> CALLER_BITS * n & 7 for n in range(2 * MAX_CALLERS))
    # 0 is no state
    return frozenset(STATES[state - 1] for state in found if state)


def number(made: Automaton, before: Table | None = None) -> Table:
    """Give each outcome of an automaton its tag, after those of the rules before.

    Raises TooLargeError when there are more outcomes than numbers.
    """
    meanings = list(dict.fromkeys(made.outcomes))
    if len(meanings) >= NEXT:
        raise TooLargeError(
            f"the rules have {len(meanings)} different outcomes, and {NEXT - 1} is the most",
            "leave some out, or anchor patterns with * (/dir/*.pem)",
        )
    kept: dict[int, int] = {}
    left: dict[int, int] = {}
    mixed: frozenset[int] = frozenset()
    following, given = 1, 1
    if before is not None:
        kept, mixed = _kept(before, made)
        following, given = before.following, before.given
        taken = set(kept.values())
        left = {
            tag: _remains(before, outcome, made)
            for tag, outcome in before.outcomes.items()
            if tag not in taken and tag != ROOT
        }
    numbers = dict(kept)
    free = _free(following, set(kept.values()), before)
    for meaning in meanings:
        if meaning not in numbers:
            numbers[meaning] = following = next(free)
            given = max(given, following + 1)
            following += 1
    outcomes = {**left, **{tag: meaning + _ONES for meaning, tag in numbers.items()}}
    outcomes[ROOT] = _ONES
    ends = [numbers[meaning] for meaning in made.outcomes]
    return Table(made.rows, ends, outcomes, made.callers, following, given, mixed)


def _free(following: int, kept: set[int], before: Table | None) -> Iterator[int]:
    """Numbers to be given, those that were used latest at the end."""
    used = set() if before is None else set(before.ends)
    order = [*range(following, NEXT), *range(1, following)]
    yield from (tag for tag in order if tag not in kept and tag not in used)
    yield from (tag for tag in order if tag not in kept and tag in used)


def _kept(before: Table, made: Automaton) -> tuple[dict[int, int], frozenset[int]]:
    """The outcomes that have a number already, and which of these numbers are mixed."""
    together, complete = _together(before, made)
    same = _Same(before.callers, made.callers)
    kept: dict[int, int] = {}
    mixed: set[int] = set()
    for tag, meanings in together.items():
        outcome = before.outcomes[tag]
        alone = complete and len(meanings) == 1 and tag not in before.mixed
        for meaning in meanings:
            now = meaning + _ONES
            # An entry that was made and not looked up since: see `state_of` of the filters.
            fits = alone and (_one(now) or not _one(outcome))
            if meaning not in kept and (fits or same.says(outcome, now)):
                kept[meaning] = tag
                mixed |= set() if alone else {tag}
                break
    return kept, frozenset(mixed)


def _together(before: Table, made: Automaton) -> tuple[dict[int, dict[int, None]], bool]:
    """For each tag the outcomes that its entries have now, and whether these are all.

    Those of short names come first: entries that no rule is about.
    """
    found: dict[int, dict[int, None]] = {}
    queue = [(before.outcomes[ROOT] & 0xFFFF, 0)]
    seen = set(queue)
    for old, new in queue:
        if len(queue) > _MOST_PAIRS:
            return found, False
        row, other = before.rows[old], made.rows[new]
        # Neither a NUL nor a slash is in a name.
        steps = [*zip(row[1:47], other[1:47], strict=True), *zip(row[48:], other[48:], strict=True)]
        for pair in dict.fromkeys(steps):
            tag, meaning = before.ends[pair[0]], made.outcomes[pair[1]]
            found.setdefault(tag, {})[meaning] = None
            for next_pair in (pair, (before.outcomes[tag] & 0xFFFF, meaning & 0xFFFF)):
                if next_pair not in seen:
                    seen.add(next_pair)
                    queue.append(next_pair)
    return found, True


class _Same:
    """Whether two outcomes say the same of an entry itself, whoever asks."""

    def __init__(self, before: Callers, now: Callers) -> None:
        self._fields = {(_caller(before, *who), _caller(now, *who)) for who in _whos(before, now)}

    def says(self, old: int, new: int) -> bool:
        return all(
            _state(old, shift, was) == _state(new, shift, is_now)
            for was, is_now in self._fields
            for shift in (DIRECTORY_SHIFT, OTHER_SHIFT)
        )


def _remains(before: Table, outcome: int, made: Automaton) -> int:
    """An outcome whose number is not kept: what it said of the entry, and no way on."""
    states: dict[int, set[int]] = {}
    for who in _whos(before.callers, made.callers):
        for shift in (DIRECTORY_SHIFT, OTHER_SHIFT):
            at = shift + CALLER_BITS * _caller(made.callers, *who)
            said = _state(outcome, shift, _caller(before.callers, *who))
            states.setdefault(at, set()).add(said)
    # 0 where it said different things to callers that are one now.
    return NOWHERE | sum(said.pop() << at for at, said in states.items() if len(said) == 1)


def _whos(before: Callers, now: Callers) -> list[tuple[int, int]]:
    """Users and groups that stand for all that either set of rules tells apart."""
    uids, gids = ({*getattr(before, k), *getattr(now, k)} for k in ("uids", "gids"))
    other_uid = next(n for n in range(len(uids) + 1) if n not in uids)
    other_gid = next(n for n in range(len(gids) + 1) if n not in gids)
    return [(uid, gid) for uid in {*uids, other_uid} for gid in {*gids, other_gid}]


def _caller(callers: Callers, uid: int, gid: int) -> int:
    return callers.uids.get(uid, 0) + callers.gids.get(gid, 0)


def _state(outcome: int, shift: int, caller: int) -> int:
    return outcome >> shift + CALLER_BITS * caller & 7


def _one(outcome: int) -> bool:
    """Whether it is the same as a directory and as anything else."""
    return outcome >> OTHER_SHIFT == outcome >> DIRECTORY_SHIFT & 0xFFFFFF
