# SPDX-License-Identifier: MIT
"""What can stand at a place of a filter file, and what the word there means. Knows no protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fusebpf.abi import OPS, STRUCTS
from fusebpf.abi.model import Arg, Op, Struct
from fusebpf.abi.opcodes import LANGUAGE_NAMES
from fusebpf.compiler.edits import source_lines

_SET = re.compile(r"^(\w+)\s*(?::[^=\n]*)?=\s*FilterSet\(", re.MULTILINE)
_MAP = re.compile(r"^\s*(\w+)\s*=\s*\w+\.(\w+)\(", re.MULTILINE)
_DEF = re.compile(r"^(\s*)def\s+\w+\s*\((.*)$")
_PARAMETER = re.compile(r"(\w+)\s*:\s*(\w+)")
_PATH = re.compile(r"([A-Za-z_][\w.]*)\.(\w*)$")

_HASH = {
    "get": "get(key), get(key, default): a copy of the value",
    "put": "put(key, value): store; false when the map is full",
    "discard": "discard(key): remove",
}
_MAPS = {
    "hash": _HASH,
    "lru_hash": _HASH,
    "percpu_hash": _HASH,
    "lru_percpu_hash": _HASH,
    "lpm_trie": _HASH,
    "automaton": {"walk": "walk(name), walk(name, state): the state behind a name"},
    "events": {"emit": "emit(Event(...)): send to user space"},
}
_NAME_METHODS = {
    "startswith": "startswith(prefix) or startswith((a, b))",
    "endswith": "endswith(suffix) or endswith((a, b))",
    "glob": "glob(pattern): fnmatch on bytes",
    "lower": "lower(): ASCII letters folded",
}


@dataclass(frozen=True)
class Word:
    """Something that can be written: its name, a line about it, its kind."""

    name: str
    detail: str
    kind: str  # "method", "field" or "hook"


def completions(text: str, line: int, column: int) -> list[Word]:
    """What can follow the last dot before a place (from 0)."""
    lines = source_lines(text)
    before = lines[line][:column] if line < len(lines) else ""
    found = _PATH.search(before)
    if found is None:
        return []
    first, *rest = found[1].split(".")
    if first in _SET.findall(text):
        return _of_set(rest)
    kind = dict(_MAP.findall(text)).get(first)
    if kind in _MAPS and not rest:
        return [Word(name, detail, "method") for name, detail in _MAPS[kind].items()]
    return _of_class(_parameters(lines, line).get(first, ""), rest)


def _of_set(path: list[str]) -> list[Word]:
    if not path:
        from fusebpf.dsl import FilterSet

        hooks = [Word(key, op.doc, "hook") for key, op in OPS.items()]
        hooks += [Word(key, OPS[of].doc, "hook") for key, of in LANGUAGE_NAMES.items()]
        methods = [
            Word(name, (getattr(FilterSet, name).__doc__ or "").split("\n")[0], "method")
            for name in FilterSet.declarations()
        ]
        return [*hooks, *methods]
    if len(path) == 1 and operation(path[0]) is not None:
        return [
            Word("pre", "before the operation", "method"),
            Word("post", "after the operation", "method"),
        ]
    return []


def _of_class(name: str, path: list[str]) -> list[Word]:
    if name == "Context" and not path:
        from fusebpf.compiler.expressions import CONTEXT_FIELDS, CONTEXT_METHODS

        fields = [Word(key, str(kind), "field") for key, kind in CONTEXT_FIELDS.items()]
        return [*fields, *(Word(key, "", "method") for key in CONTEXT_METHODS)]
    if name in ("Name", "Buffer") and not path:
        return [Word(key, detail, "method") for key, detail in _NAME_METHODS.items()]
    struct = structure(name)
    for part in path:
        field = struct.by_name.get(part) if struct else None
        struct = field.struct if field else None
    if struct is None:
        return []
    return [
        Word(f.name, f.struct.py_name if f.struct else f.ctype.strip("_"), "field")
        for f in struct.fields
        if not f.reserved and f.count == 1
    ]


def _parameters(lines: list[str], line: int) -> dict[str, str]:
    """Parameters of the function around a line, with their classes."""
    for number in range(min(line, len(lines) - 1), -1, -1):
        found = _DEF.match(lines[number])
        if found:
            head = " ".join(lines[number : number + 8])
            return dict(_PARAMETER.findall(head[: head.find("):") + 1 or None]))
    return {}


def operation(name: str) -> Op | None:
    """The operation that an attribute of a set stands for."""
    return OPS.get(LANGUAGE_NAMES.get(name, name))


def structure(py_name: str) -> Struct | None:
    """The struct that a class of the language stands for."""
    return next((s for s in STRUCTS.values() if s.py_name == py_name), None)


def hover(text: str, line: int, column: int) -> str | None:
    """Markdown about the word at a place (from 0); None when it is none of ours."""
    lines = source_lines(text)
    if line >= len(lines):
        return None
    for found in re.finditer(r"\w+", lines[line]):
        if found.start() <= column <= found.end():
            return _about(lines, line, found[0], lines[line][: found.start()])
    return None


def _about(lines: list[str], line: int, word: str, before: str) -> str | None:
    op = operation(word)
    if op is not None and before.endswith(".") and before.lstrip().startswith("@"):
        return _operation_text(word, op)
    struct = structure(word)
    if struct is not None:
        fields = ", ".join(f"`{f.name}`" for f in struct.fields if not f.reserved)
        return f"**{word}** — {struct.doc}\n\nMembers: {fields}"
    from fusebpf.abi.markdown import VERDICT_MEANINGS

    if word in VERDICT_MEANINGS:
        return f"**{word}** — {VERDICT_MEANINGS[word]}"
    path = _PATH.search(before)
    if path is not None:
        first, *rest = path[1].split(".")
        for entry in _of_class(_parameters(lines, line).get(first, ""), rest):
            if entry.name == word:
                return f"`{path[1]}.{word}`: {entry.detail}"
    return None


def _operation_text(name: str, op: Op) -> str:
    from fusebpf.abi.markdown import argument

    def listed(args: tuple[Arg, ...]) -> str:
        return ", ".join(map(argument, args)) or "none"

    return (
        f"**{name}** — {op.doc} {op.opcode_name} {op.opcode}, decided by the {op.deciding}.\n\n"
        f"Inputs: {listed(op.pre)}. Outputs: {listed(op.post)}. **Bold** can be changed."
    )
