# SPDX-License-Identifier: MIT
"""Rules as an automaton: the same states as by the other implementation, and its size."""

from __future__ import annotations

import os
import random
import time

import pytest

from fusebpf.guard import automaton
from fusebpf.guard.automaton import Automaton, TooLargeError, build
from fusebpf.guard.rules import parse_text
from tests.unit import guard_cases as cases

CASES = int(os.environ.get("FUSEBPF_GUARD_CASES", "20000"))


def built(text: str) -> Automaton:
    return build(parse_text(text, "rules"))


def agree(rng: random.Random, ignore_case: bool) -> int:
    """Ask one automaton about a tree; how many paths can be got at."""
    lines, paths = cases.some_lines(rng), cases.some_paths(rng, 200)
    text = "\n".join(["option ignore-case"] * ignore_case + list(map(str, lines)))
    try:
        made = built(text)
    except TooLargeError:  # too many kinds of callers: see below
        return 0
    uid, gid = rng.randrange(4), rng.randrange(3)
    caller = made.callers.uids.get(uid, 0) + made.callers.gids.get(gid, 0)
    tags: dict[tuple[str, ...], int] = {(): 0}
    for path, directory in paths.items():
        above = tags.get(path[:-1])
        if above is None or made.state(above, True, caller) in ("hidden", "deny", "empty"):
            continue
        tags[path] = made.enter(above, path[-1].encode())
        wanted = cases.state(lines, path, directory, uid, gid, ignore_case)
        assert made.state(tags[path], directory, caller) == wanted, f"{text}\n{path} {uid} {gid}"
    return len(tags)


@pytest.mark.parametrize("ignore_case", [False, True])
def test_states_are_those_of_the_other_implementation(ignore_case: bool) -> None:
    rng = random.Random(f"automaton {ignore_case}")
    asked = 0
    while asked < CASES // 4:
        asked += agree(rng, ignore_case)


def below(made: Automaton, path: str) -> str:
    tag = 0
    for name in path.split("/"):
        tag = made.enter(tag, name.encode())
    return str(made.state(tag, directory=False))


@pytest.mark.parametrize(
    ("rule", "states"),
    [
        ("hidden /srv/app-{0:04}/conf/secret-{1}.key", 1000),
        ("hidden *.e{0:04}", 1000),
        ("read-only {0:04}-{1}-name", 1000),
        ("hidden /home/user{0:04}/**/id_*", 1000),
    ],
)
def test_ten_thousand_rules(rule: str, states: int) -> None:
    text = "\n".join(rule.format(number, number % 7) for number in range(10_000))
    rules = parse_text(text, "rules")
    began = time.process_time()
    made = build(rules)
    assert time.process_time() - began <= 5
    assert len(made.rows) <= states  # what is alike is one
    name = rule.format(1234, 1234 % 7).split()[1].replace("*", "x").strip("/")
    assert below(made, name) == rule.split()[0]
    assert below(made, name + "1") == "allow" or name.endswith("id_x")


def test_the_order_of_rules_for_different_names_costs_no_states() -> None:
    states = ("hidden", "deny", "read-only")
    apart, mixed = (
        [f"{state} /srv/app-{n:04}/{state}.key" for n in range(300) for state in states],
        [f"{state} /srv/app-{n:04}/{state}.key" for state in states for n in range(300)],
    )
    assert len(built("\n".join(apart)).rows) == len(built("\n".join(mixed)).rows) < 300


def test_depth_costs_no_states() -> None:
    deep = built("hidden /" + "/".join(["a"] * 30) + "/x")
    assert below(deep, "/".join(["a"] * 30) + "/x") == "hidden"
    assert below(deep, "/".join(["a"] * 29) + "/x") == "allow"


def test_rules_that_are_too_many_are_refused_with_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = ["hidden *a*b*", "deny *c*d*", "empty *e*f*", "read-only *g*h*", "hidden x"]
    sizes = [len(built("\n".join(lines[:count])).rows) for count in range(1, 5)]
    assert sizes == sorted(sizes)
    monkeypatch.setattr(automaton, "MAX_STATES", sizes[2])
    with pytest.raises(TooLargeError) as caught:
        built("\n".join(lines))
    assert caught.value.exit_code == 3
    assert caught.value.message == (
        f"rules:4: with `read-only *g*h*` the rules need more than {sizes[2]} states"
    )


def test_callers_that_are_too_many_are_refused() -> None:
    assert len(built("deny uid=1,2,3 gid=7 x").callers.examples) == 8
    with pytest.raises(TooLargeError, match="rules:2: with `hidden uid=8 y`"):
        built("deny uid=1,2,3 gid=7 x\nhidden uid=8 y")
