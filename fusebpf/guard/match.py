# SPDX-License-Identifier: MIT
"""Which rules match a path, and what its state is.

The patterns stand in one tree, an edge for each component, so that what they begin with in common
is asked once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fusebpf.frozen import dataclass
from fusebpf.guard.pattern import ANY_DEPTH, Glob
from fusebpf.guard.rules import Rule, Rules, State


class Node:
    """A place in the patterns, behind some components."""

    def __init__(self, number: int) -> None:
        self.number = number
        #: Stays for any component.
        self.loop = False
        #: Reached from here without one.
        self.deep: Node | None = None
        #: What leads on, by the name or glob that it takes.
        self.names: dict[bytes, Node] = {}
        self.globs: dict[Glob, Node] = {}
        #: Each glob that leads on, names included.
        self.edges: list[tuple[Glob, Node]] = []
        #: The rules whose patterns end here, first to last.
        self.ends: list[int] = []


class Tree:
    """The patterns of all rules."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.nodes: list[Node] = []
        self.root = self._node()
        self._regexes: dict[Glob, re.Pattern[bytes]] = {}
        for index, rule in enumerate(rules.rules):
            node = self.root
            for glob in rule.pattern.components:
                node = self.after(node, glob)
            node.ends.append(index)

    def _node(self) -> Node:
        self.nodes.append(Node(len(self.nodes)))
        return self.nodes[-1]

    def after(self, node: Node, glob: Glob) -> Node:
        """The place behind one more component."""
        if glob is ANY_DEPTH:
            if node.deep is None:
                node.deep = self._node()
                node.deep.loop = True
            return node.deep
        literal = glob.literal(self.rules.ignore_case)
        found = node.globs.get(glob) if literal is None else node.names.get(literal)
        if found is None:
            found = self._node()
            if literal is None:
                node.globs[glob] = found
            else:
                node.names[literal] = found
            node.edges.append((glob, found))
        return found

    def start(self) -> list[Node]:
        """Where the root of the tree stands."""
        return list(_closed([self.root]))

    def step(self, nodes: Iterable[Node], name: bytes) -> list[Node]:
        """Where ``name`` stands in a directory that stands at ``nodes``."""
        found: dict[int, Node] = {}
        key = name.lower() if self.rules.ignore_case else name
        for node in nodes:
            if node.loop:
                found[node.number] = node
            if (after := node.names.get(key)) is not None:
                found[after.number] = after
            for glob, after in node.globs.items():
                if self._regex(glob).fullmatch(name):
                    found[after.number] = after
        return list(_closed(found.values()))

    def matched(self, nodes: Iterable[Node], directory: bool) -> list[int]:
        """The rules that match what stands at ``nodes`` itself, first to last."""
        return sorted(
            index
            for node in nodes
            for index in node.ends
            if directory or not self.rules.rules[index].pattern.directory
        )

    def _regex(self, glob: Glob) -> re.Pattern[bytes]:
        if glob not in self._regexes:
            self._regexes[glob] = glob.regex()
        return self._regexes[glob]


def _closed(nodes: Iterable[Node]) -> Iterable[Node]:
    known: dict[int, Node] = {}
    for node in nodes:
        known[node.number] = node
        if node.deep is not None:
            known[node.deep.number] = node.deep
    return known.values()


Claims = tuple[Rule, ...]
"""The rules that say what a path is, the one that counts first; none says it is allowed.

Of each state there is one rule: what the others of it say does not count for it or for any path
below.
"""


def settled(inherited: Claims, matched: Sequence[Rule]) -> Claims:
    """The claims on a path, of those on its directory and the rules that match the path itself.

    Deeper goes before higher, later before earlier; ``!`` takes its state back.
    """
    seen: set[State] = set()
    found: list[Rule] = []
    for rule in (*reversed(matched), *inherited):
        if rule.state not in seen:
            seen.add(rule.state)
            if not rule.pattern.takes_back:
                found.append(rule)
    return tuple(found)


def state(claims: Claims) -> State:
    """What a path with these claims is."""
    return claims[0].state if claims else State.ALLOW


@dataclass(frozen=True)
class Place:
    """A path of the tree, from its root on, for one caller."""

    path: tuple[bytes, ...]
    directory: bool
    claims: Claims
    nodes: tuple[Node, ...]
    #: The directory above it that nobody gets past, if there is one.
    barrier: Place | None

    @property
    def own(self) -> State:
        """What its claims say that it is."""
        return state(self.claims)

    @property
    def state(self) -> State:
        """What it is to its user, who has to get there."""
        if self.barrier is None:
            return self.own
        return State.DENY if self.barrier.own is State.DENY else State.HIDDEN


class Matcher:
    """Finds the state of paths for the user ``uid`` in the group ``gid``."""

    def __init__(self, rules: Rules, uid: int, gid: int) -> None:
        self.tree = Tree(rules)
        self._rules = rules.rules
        self._meant = [rule.who.takes(uid, gid) for rule in rules.rules]

    def root(self) -> Place:
        """The root of the tree."""
        return Place((), True, (), tuple(self.tree.start()), None)

    def enter(self, parent: Place, name: bytes, directory: bool) -> Place:
        """What ``name`` in a directory is."""
        nodes = self.tree.step(parent.nodes, name)
        matched = [self._rules[i] for i in self.tree.matched(nodes, directory) if self._meant[i]]
        barrier = parent.barrier
        if barrier is None and parent.own in (State.HIDDEN, State.DENY, State.EMPTY):
            barrier = parent
        claims = settled(parent.claims, matched)
        return Place((*parent.path, name), directory, claims, tuple(nodes), barrier)

    def find(self, path: Sequence[bytes], directory: bool) -> Place:
        """What a path is; all but its last component are directories."""
        place = self.root()
        for number, name in enumerate(path, 1):
            place = self.enter(place, name, directory or number < len(path))
        return place
