# SPDX-License-Identifier: MIT
"""From nodes of the syntax tree to edits of the text."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from fusebpf.compiler.edits import Edit, Fix
from fusebpf.compiler.sources import Source
from fusebpf.frozen import dataclass


@dataclass(frozen=True)
class Mend:
    """A change of the text at a node: what stands there instead.

    ``at`` is the node; None means where the mistake is. ``lines`` takes whole lines out.
    ``imports`` are (module, name) that the text needs.
    """

    text: str
    at: ast.AST | None = None
    safe: bool = True
    lines: bool = False
    imports: tuple[tuple[str, str], ...] = ()
    title: str = ""


#: What a finding can be given: text in its place, a change, or several that belong together.
Mending = str | Mend | Sequence[Mend] | None


def fix_of(source: Source, node: ast.AST, mending: Mending) -> tuple[Fix, ...]:
    """The fix that a mending stands for: none, or one."""
    if mending is None:
        return ()
    parts = [Mend(mending)] if isinstance(mending, str) else mending
    parts = [parts] if isinstance(parts, Mend) else list(parts)
    edits: list[Edit] = []
    for part in parts:
        at = part.at or node
        if part.lines:
            edits.append(_without(source, at))
        elif part.text or not part.imports:
            edits.append(_instead(source, at, part.text))
        for module, name in part.imports:
            edits += imported(source, module, name)
    first = parts[0]
    title = first.title or _title(source, first, first.at or node)
    safe = all(part.safe for part in parts)
    return (Fix(title, tuple(edits), "safe" if safe else "unsafe"),)


def _title(source: Source, part: Mend, at: ast.AST) -> str:
    if part.lines:
        return "remove it"
    if not part.text and part.imports:
        module, name = part.imports[0]
        return f"import {name} from {module}"
    text = " ".join(part.text.split())
    shown = text if len(text) <= 60 else text[:57] + "..."
    return f"write {shown}" if text else f"remove {segment(source, at)}"


def segment(source: Source, node: ast.AST) -> str:
    """The text of a node."""
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    if not 0 < first <= last <= len(source.lines):
        return ""
    raw = [line.encode() for line in source.lines[first - 1 : last]]
    raw[-1] = raw[-1][: getattr(node, "end_col_offset", None)]
    raw[0] = raw[0][getattr(node, "col_offset", 0) :]
    return b"\n".join(raw).decode("utf-8", "ignore")


def column(text: str, byte: int) -> int:
    """Character position of a byte position (ast counts bytes of UTF-8)."""
    return len(text.encode()[:byte].decode("utf-8", "ignore"))


def _instead(source: Source, node: ast.AST, text: str) -> Edit:
    line, end = getattr(node, "lineno", 1), getattr(node, "end_lineno", 1)
    return Edit(
        line,
        column(source.lines[line - 1], getattr(node, "col_offset", 0)) + 1,
        end,
        column(source.lines[end - 1], getattr(node, "end_col_offset", 0)) + 1,
        text,
    )


def _without(source: Source, node: ast.AST) -> Edit:
    """Take a statement out, with its lines when nothing else is on them."""
    first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", 1)
    if _alone(source.tree, node):
        return _instead(source, node, "pass")
    return (
        Edit(first, 1, last + 1, 1, "")
        if last < len(source.lines)
        else Edit(first, 1, last, len(source.lines[last - 1]) + 1, "")
    )


def _alone(tree: ast.Module, node: ast.AST) -> bool:
    """Whether a statement shares its line, or is all that its block holds."""
    place = (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
    for owner in ast.walk(tree):
        for _name, block in ast.iter_fields(owner):
            if not isinstance(block, list) or not block or not isinstance(block[0], ast.stmt):
                continue
            places = [(stmt.lineno, stmt.col_offset) for stmt in block]
            if place in places:
                shared = sum(line == place[0] for line, _ in places) > 1
                return len(block) == 1 or shared
    return False


def imported(source: Source, module: str, name: str) -> list[Edit]:
    """Edits that import a name, in the place where isort would put it."""
    last = 0
    for stmt in source.tree.body:
        if isinstance(stmt, ast.ImportFrom) and stmt.module == module and not stmt.level:
            if any(alias.name in (name, "*") for alias in stmt.names):
                return []
            behind = [a for a in stmt.names if _order(a.name) > _order(name)]
            at = behind[0] if behind else stmt.names[-1]
            where = _instead(source, at, "")
            if behind:
                return [Edit(where.line, where.col, where.line, where.col, f"{name}, ")]
            return [Edit(where.end_line, where.end_col, where.end_line, where.end_col, f", {name}")]
        if isinstance(stmt, ast.Import | ast.ImportFrom):
            last = stmt.end_lineno or stmt.lineno
    if not last and source.tree.body and ast.get_docstring(source.tree) is not None:
        last = source.tree.body[0].end_lineno or 1
    return [Edit(last + 1, 1, last + 1, 1, f"from {module} import {name}\n")]


def _order(name: str) -> tuple[int, str]:
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name


def definition(tree: ast.AST, name: str) -> ast.AST | None:
    """Where a name is made in a file or function; None if nowhere."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=found, ctx=ast.Store()) | ast.arg(arg=found) if found == name:
                return _word(node, 0, name)
            case ast.FunctionDef(name=found) if found == name and node is not tree:
                return _word(node, len("def "), name)
            case ast.ClassDef(name=found) if found == name:
                return _word(node, len("class "), name)
            case ast.alias(name=found, asname=None) if found == name:
                return node
    return None


def _word(node: ast.expr | ast.arg | ast.stmt, after: int, name: str) -> ast.Pass:
    begin = node.col_offset + after
    return _node((node.lineno, begin), (node.lineno, begin + len(name.encode())))


def last_name(node: ast.Attribute) -> ast.AST:
    """A node that spans the last name of ``a.b.c``."""
    line, col = _end(node)
    return _node((line, col - len(node.attr.encode())), (line, col))


def span(first: ast.AST, last: ast.AST) -> ast.Pass:
    """A node from the beginning of one to the end of another."""
    return _node(_begin(first), _end(last))


def between(first: ast.AST, last: ast.AST) -> ast.Pass:
    """A node from the end of one to the beginning of another: what stands between them."""
    return _node(_end(first), _begin(last))


def after(first: ast.AST, last: ast.AST) -> ast.Pass:
    """A node from the end of one to the end of another."""
    return _node(_end(first), _end(last))


def _begin(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 1), getattr(node, "col_offset", 0)


def _end(node: ast.AST) -> tuple[int, int]:
    line, col = _begin(node)
    return getattr(node, "end_lineno", None) or line, getattr(node, "end_col_offset", None) or col


def _node(begin: tuple[int, int], end: tuple[int, int]) -> ast.Pass:
    at = ast.Pass()
    at.lineno, at.col_offset = begin
    at.end_lineno, at.end_col_offset = end
    return at
