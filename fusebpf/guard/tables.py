# SPDX-License-Identifier: MIT
"""Rules in TOML, for tools: the same rules, with a schema (docs/guard.md)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import partial
from typing import Any

from fusebpf.guard.rules import Mistake, Reader, Rules, Who, state_named
from fusebpf.spelling import closest

_TOP = {"version": int, "ignore_case": bool, "rule": list}
_RULE = {"state": str, "pattern": str, "uid": list, "gid": list}
_PRESET = {"preset": str}
_KINDS = {int: "a whole number", bool: "true or false", list: "a list", str: "a string"}
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*rule[ \t]*\]\]", re.M)


def parse_toml(text: str, source: str) -> Rules:
    """Read rules in TOML. Raises RulesError with all that is wrong."""
    reader = Reader(source)
    lines = text.split("\n")
    document: dict[str, Any] = {}
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number, lists without an end
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        number = int(place[1]) if place else len(lines)
        column = int(place[2]) - 1 if place else 0
        reader.problems.append(
            Mistake(
                f"this is no TOML: {str(error).partition(' (at ')[0]}",
                "docs/guard.md has an example",
                column,
                column + 1,
            ).at(source, number, lines[number - 1])
        )
        return reader.done()
    reader.tried(1, lines[0], partial(_take_top, reader, document))
    starts = [text.count("\n", 0, match.end()) + 1 for match in _HEADER.finditer(text)]
    entries = document.get("rule", [])
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        # Rules written as a value, `rule = [{…}]`, have no header.
        number = starts[index] if len(starts) == len(entries) else 1
        reader.tried(number, lines[number - 1], partial(_take_rule, reader, number, entry))
    return reader.done()


def _take_top(reader: Reader, document: dict[str, Any]) -> bool:
    _check(document, _TOP, "the file")
    if document.get("version") != 1:
        raise Mistake(f"version is {document.get('version', 'missing')}", "write version = 1", 0, 1)
    reader.ignore_case = document.get("ignore_case", False)
    return True


def _take_rule(reader: Reader, number: int, entry: object) -> bool:
    if not isinstance(entry, dict):
        raise Mistake(f"{entry!r} is no rule", "write a table: [[rule]]", 0, 1)
    if "preset" in entry:
        _check(entry, _PRESET, "a rule with a preset")
        reader.add_preset(entry["preset"])
        return True
    _check(entry, _RULE, "a rule")
    for key in ("state", "pattern"):
        if key not in entry:
            raise Mistake(f"the rule has no {key}", f"write {key} = …", 0, 1)
    state = state_named(entry["state"], 0)
    who = Who(_ids(entry, "uid"), _ids(entry, "gid"))
    if not entry["pattern"] or "\n" in entry["pattern"]:
        raise Mistake(
            f"{entry['pattern']!r} is no pattern",
            'write one of gitignore(5): pattern = "*.pem"',
            0,
            1,
        )
    reader.add(number, state, who, entry["pattern"])
    return True


def _check(table: dict[str, Any], known: Mapping[str, type], what: str) -> None:
    for key, value in table.items():
        if key not in known:
            near = closest(key, known)
            raise Mistake(
                f"{what} has no {key!r}",
                f"did you mean {near!r}?" if near else f"it has {', '.join(known)}",
                0,
                1,
            )
        if type(value) is not known[key]:
            raise Mistake(f"{key} is {value!r}", f"it is {_KINDS[known[key]]}", 0, 1)


def _ids(entry: dict[str, Any], key: str) -> frozenset[int]:
    listed = entry.get(key, [])
    for value in listed:
        if type(value) is not int or not 0 <= value < 0xFFFFFFFF:
            raise Mistake(f"{value!r} is no {key}", f"write numbers: {key} = [1000, 1001]", 0, 1)
    if key in entry and not listed:
        raise Mistake(f"{key} is an empty list", f"leave {key} out to mean everyone", 0, 1)
    return frozenset(listed)
