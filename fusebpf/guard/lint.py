# SPDX-License-Identifier: MIT
"""What is amiss with rules, and with a tree under them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fusebpf.frozen import dataclass
from fusebpf.guard.match import Matcher, Node, Tree
from fusebpf.guard.pattern import ANY_DEPTH, Glob
from fusebpf.guard.rules import Rule, Rules, State, parse_text
from fusebpf.guard.tree import root


@dataclass(frozen=True)
class Finding:
    """``where`` it is: a line of the rules, or a path of the tree."""

    kind: str
    where: str
    message: str


def lint(rules: Rules, tree: Path) -> list[Finding]:
    """Findings in the order of the rules, then of the tree.

    Rules of presets are not judged: they are there for other trees, too.
    """
    top = root(tree)
    patterns = Tree(rules)
    used: set[int] = set()
    secrets: list[Finding] = []
    for path, matched, covered, secret in _walk(top, patterns):
        used.update(matched)
        if secret and not covered:
            secrets.append(
                Finding(
                    "secret",
                    os.fsdecode(b"/".join(path)),
                    "has the name of a secret, and no rule covers it: `preset secrets` would, "
                    "or a rule of its own",
                )
            )
    found = []
    for index, rule in enumerate(rules.rules):
        if rule.source != rules.source:
            continue
        if finding := _shadowed(patterns, index) or _unreachable(rules, rule):
            found.append(finding)
        elif index not in used:
            found.append(Finding("unmatched", rule.where, f"`{rule}` matches nothing in the tree"))
    return [*found, *secrets]


def _walk(top: Path, patterns: Tree) -> Iterator[tuple[tuple[bytes, ...], list[int], bool, bool]]:
    """Every path of the tree, and the rules that match it; whether one matches it or a directory
    above; and whether its name is that of a secret, and of no directory above."""
    known = Tree(parse_text("preset secrets", "secrets"))
    Step = tuple[tuple[bytes, ...], list[Node], list[Node] | None, bool]
    waiting: list[Step] = [((), patterns.start(), known.start(), False)]
    while waiting:
        path, nodes, secret_nodes, covered = waiting.pop()
        below: list[Step] = []
        for name, directory in _entries(b"/".join((os.fsencode(top), *path))):
            here = patterns.step(nodes, name)
            matched = patterns.matched(here, directory)
            secret, secret_here = False, None
            if secret_nodes is not None:
                secret_here = known.step(secret_nodes, name)
                saying = known.matched(secret_here, directory)
                secret = bool(saying) and not known.rules.rules[saying[-1]].pattern.takes_back
            full = (*path, name)
            yield full, matched, covered or bool(matched), secret
            if directory:
                below.append(
                    (full, here, None if secret else secret_here, covered or bool(matched))
                )
        waiting += reversed(below)


def _entries(directory: bytes) -> list[tuple[bytes, bool]]:
    """Names and whether they are directories; none where they cannot be listed."""
    try:
        with os.scandir(directory) as entries:
            return sorted((e.name, e.is_dir(follow_symlinks=False)) for e in entries)
    except OSError:
        return []


def _shadowed(patterns: Tree, index: int) -> Finding | None:
    """That a rule never counts, as a later one takes all that it takes."""
    rules = patterns.rules.rules
    rule = rules[index]
    for other in _rivals(patterns, rule):
        later = rules[other]
        same = later.state is rule.state
        if (
            other > index
            and _covers(later, rule)
            and (same or not (later.pattern.takes_back or _taken_back(rules, later.state)))
        ):
            return Finding(
                "shadowed", rule.where, f"`{rule}` never counts: {later.where} has `{later}`"
            )
    return None


def _taken_back(rules: Sequence[Rule], state: State) -> bool:
    return any(rule.pattern.takes_back and rule.state is state for rule in rules)


def _rivals(patterns: Tree, rule: Rule) -> list[int]:
    """Rules that may take all that ``rule`` takes: those at its place, and those of its names."""
    fold = patterns.rules.ignore_case
    nodes, place = patterns.start(), patterns.root
    for glob in rule.pattern.components:
        place = patterns.after(place, glob)
        if glob is not ANY_DEPTH and nodes:
            literal = glob.literal(fold)
            nodes = [] if literal is None else patterns.step(nodes, literal)
    return sorted({*place.ends, *patterns.matched(nodes, directory=True)})


def _covers(later: Rule, rule: Rule) -> bool:
    """Whether a rule matches whatever another one matches, for everyone whom that is for."""
    if later.pattern.directory and not rule.pattern.directory:
        return False
    for wide, narrow in ((later.who.uids, rule.who.uids), (later.who.gids, rule.who.gids)):
        if wide and not (narrow and narrow <= wide):
            return False
    ours, theirs = rule.pattern.components, later.pattern.components
    if len(theirs) == 2 and theirs[0] is ANY_DEPTH:  # by the last name alone
        ours, theirs = ours[-1:], theirs[-1:]
    return len(ours) == len(theirs) and all(map(_includes, theirs, ours))


def _includes(wide: Glob, narrow: Glob) -> bool:
    if wide == narrow:
        return True
    literal = narrow.literal()
    return literal is not None and wide is not ANY_DEPTH and bool(wide.regex().fullmatch(literal))


def _unreachable(rules: Rules, rule: Rule) -> Finding | None:
    """That nobody gets to what a rule takes, as a directory above it lets nobody past."""
    names = [glob.literal() for glob in rule.pattern.components[:-1]]
    if any(other.who.uids or other.who.gids for other in rules.rules):
        return None  # somebody may
    path = [name for name in names if name]
    if not path or len(path) < len(names):
        return None
    place = Matcher(rules, 0, 0).find(path, directory=True)
    top = place.barrier or place
    if top.own in (State.ALLOW, State.READ_ONLY):
        return None
    return Finding(
        "unreachable",
        rule.where,
        f"`{rule}` never counts: {os.fsdecode(b'/'.join(top.path))} is {top.own} by "
        f"{top.claims[0].where}",
    )
