# SPDX-License-Identifier: MIT
"""Tags over updates: what an entry's number stands for when its rules are replaced."""

from __future__ import annotations

import os
import random

import pytest

from fusebpf.guard import tags
from fusebpf.guard.automaton import (
    CALLER_BITS,
    DIRECTORY_SHIFT,
    OTHER_SHIFT,
    STATES,
    TooLargeError,
    build,
)
from fusebpf.guard.rules import parse_text
from fusebpf.guard.tags import NEXT, ROOT, Table, number
from tests.unit import guard_cases as cases

CASES = int(os.environ.get("FUSEBPF_GUARD_CASES", "20000"))
Paths = dict[tuple[str, ...], bool]


def table(text: str, before: Table | None = None) -> Table:
    return number(build(parse_text(text, "rules")), before)


def said(held: Table, tag: int, directory: bool, uid: int = 0, gid: int = 0) -> str:
    """What a tag says of its entry; nothing (STALE) when it stands for nothing."""
    caller = held.callers.uids.get(uid, 0) + held.callers.gids.get(gid, 0)
    shift = (DIRECTORY_SHIFT if directory else OTHER_SHIFT) + CALLER_BITS * caller
    code = held.outcomes.get(tag, 0) >> shift & 7
    return STATES[code - 1] if code else "stale"


def walked(held: Table, paths: Paths) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {(): ROOT}
    for path in paths:
        found[path] = held.enter(found[path[:-1]], path[-1].encode())
    return found


def changed(rng: random.Random, lines: list[cases.Line]) -> list[cases.Line]:
    """Rules with some added, some taken away, some of another state."""
    new = [line for line in lines if rng.random() < 0.8]
    for _ in range(rng.randint(0, 2)):
        new.insert(rng.randint(0, len(new)), rng.choice(cases.some_lines(rng)))
    return new


def agree(rng: random.Random) -> int:
    """A few updates in a row; how many tags were held that are not those of the new rules."""
    lines, paths = cases.some_lines(rng), cases.some_paths(rng, 60)
    who = [(uid, gid) for uid in range(4) for gid in range(3)]
    before: Table | None = None
    #: What the rules in force at some time said of a path, and the tags that it had.
    history: dict[tuple[str, ...], list[dict[tuple[int, int], str]]] = {p: [] for p in paths}
    held: dict[tuple[str, ...], set[int]] = {p: set() for p in paths}
    stale = 0
    for _ in range(3):
        try:
            now = table("\n".join(map(str, lines)), before)
        except TooLargeError:  # too many kinds of callers
            return stale
        current = walked(now, paths)
        for path, directory in paths.items():
            got = {w: said(now, current[path], directory, *w) for w in who}
            for w in rng.sample(who, 2):
                if not any(
                    cases.own_state(lines, path[:depth], True, *w) in ("hidden", "deny", "empty")
                    for depth in range(1, len(path))
                ):
                    assert got[w] == cases.own_state(lines, path, directory, *w), (lines, path, w)
            history[path].append(got)
            for tag in held[path] - {current[path]}:
                stale += 1
                for w in who:
                    answer = said(now, tag, directory, *w)
                    ever = [said_then[w] for said_then in history[path]]
                    assert answer in (*ever, "stale"), (lines, path, w, tag)
            held[path].add(current[path])
        before, lines = now, changed(rng, lines)
    return stale


def test_a_number_never_says_what_no_rules_said() -> None:
    rng = random.Random("tags")
    stale = sum(agree(rng) for _ in range(CASES // 1000))
    assert stale > CASES // 100


PLAIN: Paths = {("a",): True, ("a", "b"): True, ("a", "b", "x"): False, ("src",): True}


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        ("hidden .env", "hidden .env\nread-only *.pem", []),
        ("hidden .env", "", []),
        ("hidden .env", "deny uid=7 .env\nhidden gid=5 *.key", []),
        ("hidden .env", "hidden .env\nhidden /src/secret", [("src",)]),
        ("hidden .env\nhidden /src/secret", "hidden .env", [("src",)]),
        ("read-only /src/", "", [("src",)]),
        ("deny x", "hidden x", []),  # the same entries, of another state
        ("read-only /a/", "deny /a/", []),
    ],
)
def test_entries_that_stay_alike_keep_their_numbers(
    before: str, after: str, moved: list[tuple[str, ...]]
) -> None:
    first = table(before)
    second = table(after, first)
    was, is_now = walked(first, PLAIN), walked(second, PLAIN)
    assert [path for path in PLAIN if was[path] != is_now[path]] == moved
    third = table(before, second)
    assert {path for path in PLAIN if walked(third, PLAIN)[path] != was[path]} <= {*moved}


def test_the_root_has_its_number_alone() -> None:
    held = table("hidden .env")
    assert ROOT not in held.ends
    assert said(held, ROOT, True) == "allow"


def test_a_held_tag_leads_nowhere() -> None:
    first = table("hidden /src/secret")
    tag = first.enter(ROOT, b"src")
    second = table("", first)
    assert second.enter(ROOT, b"src") != tag
    assert said(second, tag, True) == "allow"  # of itself
    assert second.enter(tag, b"secret") == tags.NONE


def test_numbers_are_used_again_as_late_as_possible() -> None:
    held = table("")
    seen: dict[int, int] = {}
    for turn in range(60):
        held = table(f"hidden /src{turn}/x", held)
        tag = held.enter(ROOT, f"src{turn}".encode())
        assert tag not in seen
        seen[tag] = turn
    assert held.given == held.following < 200
    # At the end it begins again.
    last = Table(held.rows, held.ends, held.outcomes, held.callers, NEXT - 1, NEXT - 1)
    again = table("hidden /other/x\ndeny /more/y", last)
    given = {again.enter(ROOT, name) for name in (b"other", b"more")}
    assert given <= {NEXT - 1, *range(1, 200)}
    assert not given & {*held.ends}
    assert again.given == NEXT


def test_where_there_are_too_many_states_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    first = table("deny x")
    monkeypatch.setattr(tags, "_MOST_PAIRS", 1)
    second = table("hidden x", first)
    tag = first.enter(ROOT, b"x")
    assert second.enter(ROOT, b"x") != tag  # nobody knows what else has it
    assert said(second, tag, False) == "deny"


def test_more_outcomes_than_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags, "NEXT", 3)
    with pytest.raises(TooLargeError, match="the rules have 4 different outcomes, and 2 is"):
        table("hidden /a/b\ndeny /a/c\n")
