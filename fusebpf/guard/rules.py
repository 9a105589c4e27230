# SPDX-License-Identifier: MIT
"""Rules: a state for the paths that a pattern takes, and the file that lists them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path

from fusebpf.errors import EXIT_REJECTED, FusebpfError
from fusebpf.frozen import dataclass
from fusebpf.guard.pattern import Pattern, PatternError, parse
from fusebpf.spelling import closest

PRESETS = Path(__file__).parent / "presets"
#: The word of a line that brings in a preset, and of one that sets an option.
_PRESET, _OPTION = "preset", "option"
_IGNORE_CASE = "ignore-case"
MAX_ID = 0xFFFFFFFE  # 0xFFFFFFFF is no user, nor a group


class State(StrEnum):
    """What a path is to those who use the tree."""

    ALLOW = "allow"
    READ_ONLY = "read-only"
    DENY = "deny"
    HIDDEN = "hidden"
    EMPTY = "empty"


@dataclass(frozen=True)
class Who:
    """Whom a rule is for: a user of ``uids`` who has a group of ``gids``; empty is everyone."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    def takes(self, uid: int, gid: int) -> bool:
        """Whether someone is meant."""
        return (not self.uids or uid in self.uids) and (not self.gids or gid in self.gids)


@dataclass(frozen=True)
class Rule:
    """A rule. ``source`` and ``line`` are where it stands."""

    state: State
    pattern: Pattern
    who: Who
    source: str
    line: int

    @property
    def where(self) -> str:
        """File and line, as an editor opens them."""
        return f"{self.source}:{self.line}"

    def __str__(self) -> str:
        words = [str(self.state)]
        words += [
            f"{word}={','.join(map(str, sorted(ids)))}"
            for word, ids in (("uid", self.who.uids), ("gid", self.who.gids))
            if ids
        ]
        return " ".join([*words, self.pattern.text])


@dataclass(frozen=True)
class Rules:
    """All rules of a file, presets included, from the first to the last."""

    rules: tuple[Rule, ...]
    ignore_case: bool
    source: str


@dataclass(frozen=True)
class Problem:
    """What is wrong with a rule. Columns count characters from 0; ``text`` is the line."""

    source: str
    line: int
    start: int
    end: int
    text: str
    message: str
    help: str

    def __str__(self) -> str:
        shown = self.text.expandtabs(1)
        carets = "^" * max(1, self.end - self.start)
        return (
            f"{self.source}:{self.line}:{self.start + 1}: error: {self.message}\n"
            f"{self.line:5} | {shown}\n      | {' ' * self.start}{carets}\nhelp: {self.help}"
        )


class RulesError(FusebpfError):
    """A file of rules that was rejected; ``problems`` are all that is wrong with it."""

    exit_code = EXIT_REJECTED

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        count = f"{len(problems)} error{'s' if len(problems) != 1 else ''}"
        super().__init__("\n\n".join([f"{source}: {count}", *map(str, problems)]))
        self.problems = tuple(problems)


class Mistake(Exception):
    """Something is wrong from column ``start`` to ``end`` of a line."""

    def __init__(self, message: str, help: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message, self.help, self.start, self.end = message, help, start, end

    def at(self, source: str, line: int, text: str) -> Problem:
        """The problem that it is, in a line of a file."""
        return Problem(source, line, self.start, self.end, text, self.message, self.help)


def load(path: Path) -> Rules:
    """Read rules, in TOML when the name ends in .toml.

    Raises RulesError, and FusebpfError for a file that cannot be read.
    """
    source = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FusebpfError(
            f"cannot read the rules {source}: {error.strerror}", "name a file of rules"
        ) from None
    text = data.decode("utf-8-sig", "surrogateescape")
    if path.suffix == ".toml":
        from fusebpf.guard.tables import parse_toml

        return parse_toml(text, source)
    return parse_text(text, source)


def parse_text(text: str, source: str) -> Rules:
    """Read rules, a line each. Raises RulesError with all that is wrong."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    reader = Reader(source)
    entries: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not reader.tried(number, line, partial(_take_option, reader, line)):
            entries.append((number, line))
    for number, line in entries:
        reader.tried(number, line, partial(_take_line, reader, number, line))
    return reader.done()


class Reader:
    """Collects rules and what is wrong with them."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.ignore_case = False
        self.rules: list[Rule] = []
        self.problems: list[Problem] = []

    def tried(self, number: int, line: str, action: Callable[[], bool]) -> bool:
        """What ``action`` says; true when it raised a Mistake, which is noted."""
        try:
            return action()
        except Mistake as mistake:
            self.problems.append(mistake.at(self.source, number, line))
            return True

    def add(self, number: int, state: State, who: Who, text: str, at: int = 0) -> None:
        """A rule whose pattern stands at column ``at``. Raises Mistake."""
        try:
            pattern = parse(text, self.ignore_case)
        except PatternError as error:
            raise Mistake(error.message, error.help, at + error.start, at + error.end) from None
        self.rules.append(Rule(state, pattern, who, self.source, number))

    def add_preset(self, name: str, at: int = 0) -> None:
        """The rules of a preset. Raises Mistake."""
        if name not in presets():
            near = closest(name, presets())
            raise Mistake(
                f"there is no preset {name!r}",
                (f"did you mean {near!r}? " if near else "") + f"there are {', '.join(presets())}",
                at,
                at + len(name),
            )
        inner = Reader(f"{_PRESET} {name}")
        inner.ignore_case = self.ignore_case
        text = (PRESETS / f"{name}.rules").read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if line and not line.startswith("#"):
                _take_line(inner, number, line)
        self.rules += inner.rules

    def done(self) -> Rules:
        """What was read. Raises RulesError."""
        if self.problems:
            raise RulesError(self.source, sorted(self.problems, key=lambda p: (p.line, p.start)))
        return Rules(tuple(self.rules), self.ignore_case, self.source)


def presets() -> list[str]:
    """The names of the presets."""
    return sorted(path.stem for path in PRESETS.glob("*.rules"))


def state_named(word: str, start: int) -> State:
    """The state of a name. Raises Mistake."""
    if word in list(State):
        return State(word)
    near = closest(word, [*map(str, State), _PRESET, _OPTION])
    raise Mistake(
        f"{word!r} is no state",
        f"did you mean {near!r}?"
        if near
        else f"a rule begins with its state: {', '.join(State)}; e.g. hidden {word}",
        start,
        start + len(word),
    )


def _words(line: str, at: int) -> tuple[str, int, int]:
    """The word that begins at ``at`` or after blanks, its column, and where the next begins."""
    start = at + len(line[at:]) - len(line[at:].lstrip(" \t"))
    word = line[start:].replace("\t", " ").partition(" ")[0]
    after = start + len(word)
    return word, start, after + len(line[after:]) - len(line[after:].lstrip(" \t"))


def _take_option(reader: Reader, line: str) -> bool:
    """Whether the line sets an option, which holds for the whole file."""
    word, start, after = _words(line, 0)
    if word != _OPTION:
        return False
    value = line[after:].strip()
    if value != _IGNORE_CASE:
        near = closest(value, [_IGNORE_CASE])
        raise Mistake(
            f"there is no option {value!r}" if value else "'option' stands without a name",
            f"did you mean {near!r}?" if near else f"the one option is: option {_IGNORE_CASE}",
            after if value else start,
            after + len(value) if value else start + len(word),
        )
    reader.ignore_case = True
    return True


def _take_line(reader: Reader, number: int, line: str) -> bool:
    word, start, after = _words(line, 0)
    if word == _PRESET:
        name = line[after:].strip()
        reader.add_preset(name, after)
        return True
    state = state_named(word, start)
    ids: dict[str, frozenset[int]] = {}
    while (part := _words(line, after))[0].startswith(("uid=", "gid=")):
        kind, _, listed = part[0].partition("=")
        if kind in ids:
            raise Mistake(
                f"{kind}= stands twice",
                f"list all of them at once: {kind}=1000,1001",
                part[1],
                part[1] + len(part[0]),
            )
        ids[kind] = _ids(listed, part[1] + 4, kind)
        after = part[2]
    text = _without_blanks(line[after:])
    if not text:
        raise Mistake(
            f"{word} stands without a pattern", f"e.g. {word} *.pem", start, start + len(word)
        )
    _refuse_slips(text, after)
    if text.endswith("\t"):
        raise Mistake(
            "the pattern ends in a tab",
            "remove it; a name that ends in one is written with a backslash before it",
            after + len(text) - 1,
            after + len(text),
        )
    who = Who(ids.get("uid", frozenset()), ids.get("gid", frozenset()))
    reader.add(number, state, who, text, after)
    return True


# What reads as something else than a name; a backslash before what is matched last undoes each.
_CALLER = re.compile(r"(?:^!?|(?<!\\)[ \t]!?)((?:[\w-]*-)?[ug]id[ \t]*[=:])")
_CONDITION = re.compile(r"!?([\w-]+)(?:=\S*(?<!\\)|[ \t]*[=:][ \t]*\d[\d,]*)[ \t]")
_COMMENT = re.compile(r"(?:^(?=#(?:[ \t]|$))|(?<!\\)[ \t])(#.*)")
_SECOND = re.compile(
    r"(?:(?:^!?|/)\*?\.[^ \t/\\]+[ \t]+(?=\*\.|\.\S|!)"  # *.pem *.key, .env .npmrc
    r"|[^ \t\\][ \t]+(?=/))(.*)"
)


def _refuse_slips(text: str, at: int) -> None:
    """Raise Mistake for what reads as part of the rule, and would silently be part of a name."""
    if slip := _CALLER.search(text):
        raise _slip(
            slip,
            at,
            f"{slip[1]!r} is no condition, but part of a name",
            "a condition stands before the pattern, without blanks: hidden uid=1000 *.pem; "
            "for all but a user: hidden *.pem, then hidden uid=1000 !*.pem; "
            "in a name there is a backslash before the '=' or ':'",
        )
    if slip := _CONDITION.match(text):
        near = closest(slip[1], ["uid", "gid"])
        raise _slip(
            slip,
            at,
            f"there is no condition {slip[1]!r}",
            (f"did you mean {near}=? " if near else "conditions are uid= and gid=; ")
            + "in a name there is a backslash before the '=' or ':'",
        )
    if slip := _COMMENT.search(text):
        raise _slip(
            slip,
            at,
            "a comment has a line of its own",
            "put it above the rule; a name with a '#' there has a backslash before it: '\\#'",
        )
    if slip := _SECOND.search(text):
        raise _slip(
            slip,
            at,
            "a rule has one pattern",
            "write a rule for each; in a name there is a backslash before the blank: '\\ '",
        )


def _slip(slip: re.Match[str], at: int, message: str, help: str) -> Mistake:
    return Mistake(message, help, at + slip.start(1), at + slip.end(1))


def _ids(listed: str, at: int, kind: str) -> frozenset[int]:
    found = set()
    for item in listed.split(","):
        if not item.isascii() or not item.isdigit() or len(item) > 10 or int(item) > MAX_ID:
            raise Mistake(
                f"{item!r} is no {kind}" if item else f"a {kind} is missing",
                f"write numbers, e.g. {kind}=1000,1001; `id -{kind[0]} NAME` tells a user's own",
                at,
                at + max(1, len(item)),
            )
        found.add(int(item))
        at += len(item) + 1
    return frozenset(found)


def _without_blanks(text: str) -> str:
    """Without the spaces at the end, but for one that a backslash quotes."""
    stripped = text.rstrip(" ")
    quotes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if quotes % 2 and stripped != text else stripped
