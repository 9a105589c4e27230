# SPDX-License-Identifier: MIT
"""Which state a path has: against another implementation, and against git.

``FUSEBPF_GUARD_CASES`` is how many paths are asked of each, 20,000 when not set.
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from fusebpf.guard.match import Matcher, Place
from fusebpf.guard.rules import parse_text
from tests.unit import guard_cases as cases

CASES = int(os.environ.get("FUSEBPF_GUARD_CASES", "20000"))
PATHS = 200  # of a tree


def places(matcher: Matcher, paths: dict[tuple[str, ...], bool]) -> dict[tuple[str, ...], Place]:
    """What each path is, as a walk through the tree finds it."""
    found: dict[tuple[str, ...], Place] = {(): matcher.root()}
    for path, directory in paths.items():
        found[path] = matcher.enter(found[path[:-1]], path[-1].encode(), directory)
    return found


@pytest.mark.parametrize("ignore_case", [False, True])
def test_states_are_those_of_the_other_implementation(ignore_case: bool) -> None:
    rng = random.Random(f"states {ignore_case}")
    seen: dict[str, int] = {}
    while sum(seen.values()) < CASES // 2:
        lines, paths = cases.some_lines(rng), cases.some_paths(rng, PATHS)
        uid, gid = rng.choice((0, 1, 2, 3)), rng.choice((0, 1, 2))
        text = "\n".join(["option ignore-case"] * ignore_case + list(map(str, lines)))
        found = places(Matcher(parse_text(text, "rules"), uid, gid), paths)
        for path, directory in paths.items():
            wanted = cases.state(lines, path, directory, uid, gid, ignore_case)
            assert found[path].state == wanted, f"{text}\n{path} {directory} {uid} {gid}"
            seen[wanted] = seen.get(wanted, 0) + 1
    assert set(seen) == set(cases.STATES)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def ignored(repository: Path, patterns: str, paths: dict[tuple[str, ...], bool]) -> dict[str, int]:
    """The paths that git ignores, with the line of the pattern that says so."""
    (repository / ".git/info/exclude").write_text(patterns)
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "-v", "-z", "--stdin"],
        cwd=repository,
        input="\0".join("/".join(path) for path in paths).encode(),
        capture_output=True,
    )
    assert done.returncode in (0, 1), done.stderr
    fields = done.stdout.decode().split("\0")
    answers = zip(fields[1::4], fields[2::4], fields[3::4], strict=False)
    return {path: int(line) for line, pattern, path in answers if not pattern.startswith("!")}


def test_git_ignores_what_is_hidden(repository: Path) -> None:
    rng = random.Random("git")
    paths = cases.some_paths(rng, PATHS)
    for path, directory in paths.items():
        entry = repository.joinpath(*path)
        entry.mkdir() if directory else entry.touch()
    hidden = 0
    for _ in range(CASES // len(paths) + 1):
        lines = [cases.Line("hidden", line.pattern) for line in cases.some_lines(rng)]
        found = places(Matcher(parse_text("\n".join(map(str, lines)), "rules"), 0, 0), paths)
        wanted = ignored(repository, "\n".join(line.pattern for line in lines) + "\n", paths)
        for path in paths:
            place = found[path]
            deciding = place.barrier or place
            line = deciding.claims[0].line if place.state == "hidden" else None
            assert line == wanted.get("/".join(path)), f"{lines}\n{path}"
            hidden += line is not None
    assert hidden > CASES // 10


def find(rules: str, path: str, uid: int = 0) -> str:
    matcher = Matcher(parse_text(rules, "rules"), uid, 0)
    names = tuple(name.encode() for name in path.strip("/").split("/"))
    return str(matcher.find(names, path.endswith("/")).state)


@pytest.mark.parametrize(
    ("rules", "path", "state"),
    [
        ("read-only vendor/\nallow vendor/cache/", "vendor/cache/x", "allow"),  # the deeper one
        ("allow vendor/cache/\nread-only vendor/", "vendor/cache/x", "allow"),
        ("hidden *.key\nread-only *.key", "a.key", "read-only"),  # the later one
        ("read-only *\nhidden *.key\nhidden !pub.key", "pub.key", "read-only"),  # not allow
        ("read-only *\nhidden *.key\nallow pub.key", "pub.key", "allow"),
        ("hidden secret/\nallow secret/public", "secret/public", "hidden"),  # nobody gets there
        ("deny secret/\nallow secret/public", "secret/public", "deny"),
        ("empty log/\nallow log/today", "log/today", "hidden"),  # an empty directory has no names
        ("hidden build/", "build", "allow"),  # a file
        ("hidden build/", "build/", "hidden"),
        ("read-only a\nread-only !b", "a/b", "allow"),  # taken back below
        ("hidden a/**", "a/", "allow"),
        ("hidden a/**", "a/b/c", "hidden"),
        ("deny uid=7 x\nhidden x", "x", "hidden"),
        ("hidden x\ndeny uid=7 x", "x", "hidden"),
        ("hidden caf?", "café", "allow"),  # two bytes
        ("hidden caf??", "café", "hidden"),
        ("hidden a\\ ", "a ", "hidden"),
        ("hidden a   ", "a", "hidden"),
        ("hidden \\#x\\[1]", "#x[1]", "hidden"),
        ("hidden [[:digit:][:upper:]-]", "-", "hidden"),
    ],
)
def test_chosen_rules(rules: str, path: str, state: str) -> None:
    assert find(rules, path) == state


def test_a_rule_for_a_user_is_for_that_user() -> None:
    rules = "hidden x\ndeny uid=7,8 x"
    assert [find(rules, "x", uid) for uid in (6, 7, 8)] == ["hidden", "deny", "deny"]
