# SPDX-License-Identifier: MIT
"""Rules as one automaton over the bytes of names, whose state is carried from directory to entry.

A state is where the bytes read so far stand in the patterns that are still open in a directory. At
the end of a name it has an outcome: the state in which the names below it begin, and what the entry
is. So what a lookup costs does not depend on how many rules there are.

    bits 0-15   state in which names below begin
    bits 16-39  what it is as a directory, three bits for each kind of caller
    bits 40-63  what it is as anything else

Patterns that mean the same behind some bytes or components are made one before the states are:
otherwise thousands of like names would be as many states as they have letters.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from fusebpf.errors import EXIT_REJECTED, FusebpfError
from fusebpf.frozen import dataclass
from fusebpf.guard.match import Tree
from fusebpf.guard.pattern import EVERY, Glob
from fusebpf.guard.rules import Rule, Rules, State

#: States have 16 bits, and the last is none (fusebpf.guard.tags).
MAX_STATES = (1 << 16) - 1
#: Kinds of callers that rules can tell apart.
MAX_CALLERS = 8
DIRECTORY_SHIFT, OTHER_SHIFT, CALLER_BITS = 16, 40, 3
STATES = tuple(State)

_BARRIERS = (State.HIDDEN, State.DENY, State.EMPTY)
_Claims = tuple[State, ...]


class TooLargeError(FusebpfError):
    """Rules that no automaton of the size that is allowed can hold."""

    exit_code = EXIT_REJECTED


@dataclass(frozen=True)
class Callers:
    """The callers that rules tell apart. Number 0 is everyone else.

    A caller's number is what ``uids`` and ``gids`` have for the ids, added up; 0 for others.
    """

    uids: dict[int, int]
    gids: dict[int, int]
    #: One example of each.
    examples: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Automaton:
    """``rows[state]`` are the next states by byte, ``outcomes[state]`` what is at its end."""

    rows: list[array[int]]
    outcomes: list[int]
    callers: Callers

    def enter(self, tag: int, name: bytes) -> int:
        """The tag of a name in a directory with a tag."""
        state = tag & 0xFFFF
        for byte in name:
            state = self.rows[state][byte]
        return self.outcomes[state]

    def state(self, tag: int, directory: bool, caller: int = 0) -> State:
        """What an entry with a tag is."""
        shift = DIRECTORY_SHIFT if directory else OTHER_SHIFT
        return STATES[tag >> (shift + CALLER_BITS * caller) & 7]


def build(rules: Rules) -> Automaton:
    """Compile rules. Raises TooLargeError, which names the rule that is one too many."""
    callers = _callers(rules)
    try:
        return _Builder(rules.rules, rules.ignore_case, callers).build()
    except _Full:
        pass
    # The first rules that are too many: halves, as building takes seconds.
    least, most = 1, len(rules.rules)
    while least < most:
        middle = (least + most) // 2
        try:
            _Builder(rules.rules[:middle], rules.ignore_case, callers).build()
            least = middle + 1
        except _Full:
            most = middle
    rule = rules.rules[least - 1]
    raise TooLargeError(
        f"{rule.where}: with `{rule}` the rules need more than {MAX_STATES} states",
        "many patterns with * before or within the name multiply; anchor them (/dir/*.pem), join "
        "them, or leave some out",
    )


class _Full(Exception):
    pass


def _callers(rules: Rules) -> Callers:
    uids: dict[int, None] = {}
    gids: dict[int, None] = {}
    for rule in rules.rules:
        uids.update(dict.fromkeys(sorted(rule.who.uids)))
        gids.update(dict.fromkeys(sorted(rule.who.gids)))
        if (len(uids) + 1) * (len(gids) + 1) > MAX_CALLERS:
            raise TooLargeError(
                f"{rule.where}: with `{rule}` the rules tell more than {MAX_CALLERS} kinds of "
                f"callers apart: {len(uids)} users and everyone else, times {len(gids)} groups "
                "and everyone else",
                "give the users a group, and write gid=; or make a mount for each",
            )
    # Somebody whom no rule names.
    other_uid = next(n for n in range(len(uids) + 1) if n not in uids)
    other_gid = next(n for n in range(len(gids) + 1) if n not in gids)
    examples = [(u, g) for g in (other_gid, *gids) for u in (other_uid, *uids)]
    return Callers(
        {uid: number for number, uid in enumerate(uids, 1)},
        {gid: number * (len(uids) + 1) for number, gid in enumerate(gids, 1)},
        tuple(examples),
    )


class _Letters:
    """A place in a component: what leads on, and what it is complete for."""

    def __init__(self) -> None:
        self.loop = False
        self.star: _Letters | None = None
        self.exact: dict[int, _Letters] = {}
        self.classes: dict[frozenset[int], _Letters] = {}
        self.ends: set[int] = set()


#: What is left of one: whether any byte stays, the place behind a star, what leads on, its ends.
_Letter = tuple[
    bool,
    int | None,
    tuple[tuple[int, int], ...],
    tuple[tuple[frozenset[int], int], ...],
    frozenset[int],
]


class _Place:
    """A place between components, one for all those behind which the same can come."""

    def __init__(self, loop: bool, deep: int | None, letters: int, ends: tuple[int, ...]) -> None:
        self.loop, self.deep, self.letters, self.ends = loop, deep, letters, ends


class _Builder:
    def __init__(self, rules: Sequence[Rule], ignore_case: bool, callers: Callers) -> None:
        self.callers = callers
        self.effects: list[Rule] = []
        self.places: list[_Place] = []
        self.letters: list[_Letter] = []
        self._letter_numbers: dict[_Letter, int] = {}
        self._closures: dict[frozenset[int], frozenset[int]] = {}
        self.start = self._shared(rules, ignore_case)
        self._claims: dict[tuple[object, ...], tuple[_Claims, ...]] = {}
        #: (nodes that stay for any name, claims): what remains where nothing matches.
        self.bases: dict[tuple[frozenset[int], tuple[_Claims, ...]], int] = {}
        self.base_list: list[tuple[frozenset[int], tuple[_Claims, ...]]] = []
        self.numbers: dict[tuple[int, frozenset[int]], int] = {}
        self.waiting: list[tuple[int, frozenset[int]]] = []

    def build(self) -> Automaton:
        self._begin(frozenset({self.start}), ((),) * len(self.callers.examples))
        rows: list[array[int]] = []
        outcomes: list[int] = []
        while len(rows) < len(self.waiting):
            base, items = self.waiting[len(rows)]
            rows.append(self._row(base, items))
            outcomes.append(self._outcome(base, items))
        return Automaton(rows, outcomes, self.callers)

    # Patterns, from their ends to their beginnings: what is equal there is one.

    def _shared(self, rules: Sequence[Rule], ignore_case: bool) -> int:
        tree = Tree(Rules(tuple(rules), ignore_case, ""))
        kinds = self._numbered(rules, ignore_case)
        known: dict[tuple[object, ...], int] = {}
        shared: dict[int, int] = {}
        for node in reversed(tree.nodes):  # a node is made after the one it is reached from
            edges = [(glob, shared[after.number]) for glob, after in node.edges]
            deep = None if node.deep is None else shared[node.deep.number]
            ends = tuple(sorted({kinds[index] for index in node.ends}))
            key = (node.loop, deep, self._component(edges), ends)
            if key not in known:
                known[key] = len(self.places)
                self.places.append(_Place(*key))
            shared[node.number] = known[key]
        return shared[tree.root.number]

    def _numbered(self, rules: Sequence[Rule], ignore_case: bool) -> list[int]:
        """The effect of each rule: what it says, and when. Later effects count before earlier ones.

        The order of two rules does not matter where they say the same, and where they end in
        different names: those never match one path.
        """
        keys: list[tuple[int, int, int]] = []
        said: dict[tuple[object, ...], int] = {}
        time, spoken = 0, -1
        #: By name that a pattern ends in: when a rule spoke of it last, and what it said.
        names: dict[bytes, tuple[int, int]] = {}
        for rule in rules:
            what = said.setdefault(_effect(rule), len(said))
            name = rule.pattern.components[-1].literal(ignore_case)
            if name is None:
                if names or what != spoken:  # it may match whatever others do
                    time, spoken, names = time + 1, what, {}
                keys.append((time, 0, what))
                continue
            turn, before = names.get(name, (0, -1))
            names[name] = (turn + (what != before), what)
            keys.append((time, names[name][0], what))
        order = {key: number for number, key in enumerate(sorted(set(keys)))}
        examples = dict(zip(keys, rules, strict=True))
        self.effects = [examples[key] for key in order]
        return [order[key] for key in keys]

    def _component(self, edges: Iterable[tuple[Glob, int]]) -> int:
        """The globs that lead on from one place, as one tree of letters."""
        root = _Letters()
        made = [root]
        for glob, end in edges:
            at = root
            for token in glob.tokens:
                if token is None:
                    if at.star is None:
                        at.star = _Letters()
                        at.star.loop = True
                        made.append(at.star)
                    at = at.star
                    continue
                table: dict[object, _Letters] = at.exact if len(token) == 1 else at.classes  # type: ignore[assignment]
                step = next(iter(token)) if len(token) == 1 else token
                if step not in table:
                    table[step] = _Letters()
                    made.append(table[step])
                at = table[step]
            at.ends.add(end)
        numbers: dict[int, int] = {}
        for letters in reversed(made):
            key = (
                letters.loop,
                None if letters.star is None else numbers[id(letters.star)],
                tuple(sorted((byte, numbers[id(n)]) for byte, n in letters.exact.items())),
                tuple((taken, numbers[id(n)]) for taken, n in letters.classes.items()),
                frozenset(letters.ends),
            )
            if key not in self._letter_numbers:
                self._letter_numbers[key] = len(self.letters)
                self.letters.append(key)
            numbers[id(letters)] = self._letter_numbers[key]
        return numbers[id(root)]

    # States.

    def _begin(self, places: frozenset[int], claims: tuple[_Claims, ...]) -> int:
        """The state in which names begin in a directory at ``places``."""
        stay = frozenset(q for p in places for q in (p, self.places[p].deep) if q is not None)
        staying = frozenset(p for p in stay if self.places[p].loop)
        base = self.bases.setdefault((staying, claims), len(self.base_list))
        if base == len(self.base_list):
            self.base_list.append((staying, claims))
        return self._number(base, self._closed(frozenset(self.places[p].letters for p in stay)))

    def _number(self, base: int, items: frozenset[int]) -> int:
        key = (base, items)
        found = self.numbers.get(key)
        if found is None:
            found = len(self.waiting)
            if found == MAX_STATES:
                raise _Full
            self.numbers[key] = found
            self.waiting.append(key)
        return found

    def _closed(self, items: frozenset[int]) -> frozenset[int]:
        """With what is reached without a byte; without what leads nowhere."""
        found = self._closures.get(items)
        if found is None:
            stars = {star for item in items if (star := self.letters[item][1]) is not None}
            found = frozenset(item for item in items | stars if any(self.letters[item]))
            self._closures[items] = found
        return found

    def _row(self, base: int, items: frozenset[int]) -> array[int]:
        staying = [item for item in items if self.letters[item][0]]
        by_byte: dict[int, list[int]] = {}
        classes: list[tuple[frozenset[int], int]] = []
        for item in items:
            for byte, after in self.letters[item][2]:
                by_byte.setdefault(byte, []).append(after)
            classes += self.letters[item][3]
        # A class of most bytes is told by those that it leaves out.
        for taken, _after in classes:
            for byte in taken if len(taken) < 128 else EVERY - taken:
                by_byte.setdefault(byte, [])
        usual = [after for taken, after in classes if len(taken) >= 128]
        row = array("H", [self._number(base, self._closed(frozenset([*staying, *usual])))]) * 256
        for byte, exact in by_byte.items():
            afters = [after for taken, after in classes if byte in taken]
            row[byte] = self._number(base, self._closed(frozenset([*staying, *exact, *afters])))
        return row

    def _outcome(self, base: int, items: frozenset[int]) -> int:
        staying, inherited = self.base_list[base]
        ends = {end for item in items for end in self.letters[item][4]}
        matched = sorted({effect for end in ends for effect in self.places[end].ends})
        directory = self._settled(inherited, matched, True)
        other = self._settled(inherited, matched, False)
        places = staying | ends
        below = directory
        if all(claims and claims[0] in _BARRIERS for claims in directory):
            # Nobody gets there: what rules say of it is not needed.
            places, below = frozenset(), tuple(claims[:1] for claims in directory)
        tag = self._begin(frozenset(places), below)
        both = list(zip(directory, other, strict=True))
        # Kinds that nobody is are told what others are: filters see whether all are told the same
        both += both[:1] * (MAX_CALLERS - len(both))
        for number, (as_directory, as_other) in enumerate(both):
            tag |= _code(as_directory) << DIRECTORY_SHIFT + CALLER_BITS * number
            tag |= _code(as_other) << OTHER_SHIFT + CALLER_BITS * number
        return tag

    def _settled(
        self, inherited: tuple[_Claims, ...], matched: Sequence[int], directory: bool
    ) -> tuple[_Claims, ...]:
        """As ``fusebpf.guard.match.settled``, for each kind of caller."""
        key = (inherited, tuple(matched), directory)
        if key not in self._claims:
            self._claims[key] = tuple(
                self._settled_for(claims, matched, directory, *self.callers.examples[number])
                for number, claims in enumerate(inherited)
            )
        return self._claims[key]

    def _settled_for(
        self, inherited: _Claims, matched: Sequence[int], directory: bool, uid: int, gid: int
    ) -> _Claims:
        seen: list[State] = []
        found: list[State] = []
        for rule in (self.effects[number] for number in reversed(matched)):
            meant = (directory or not rule.pattern.directory) and rule.who.takes(uid, gid)
            if meant and rule.state not in seen:
                seen.append(rule.state)
                if not rule.pattern.takes_back:
                    found.append(rule.state)
        found += [state for state in inherited if state not in seen]
        while found and found[-1] is State.ALLOW:  # so it is without a claim
            found.pop()
        return tuple(found)


def _effect(rule: Rule) -> tuple[object, ...]:
    return (rule.state, rule.pattern.takes_back, rule.pattern.directory, rule.who)


def _code(claims: _Claims) -> int:
    return STATES.index(claims[0]) if claims else 0
