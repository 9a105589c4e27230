# SPDX-License-Identifier: MIT
"""What filters do not have, as what does the same there."""

from __future__ import annotations

import ast

from fusebpf.compiler.mending import Mend, Mending
from fusebpf.compiler.scope import Scope

#: What an exception tells whoever called, as an errno.
_ERRNOS = {
    "FileNotFoundError": "ENOENT",
    "PermissionError": "EACCES",
    "FileExistsError": "EEXIST",
    "NotADirectoryError": "ENOTDIR",
    "IsADirectoryError": "EISDIR",
    "BlockingIOError": "EAGAIN",
    "InterruptedError": "EINTR",
    "ValueError": "EINVAL",
    "NotImplementedError": "ENOSYS",
    "TimeoutError": "ETIMEDOUT",
}


def other_statement(scope: Scope, node: ast.stmt) -> Mending:
    """What to write instead of a statement that is not supported; None when that is not known."""
    match node:
        case ast.Raise(exc=exc) if scope.hook is not None:
            return _refusal(_raised(scope, exc))
        case ast.Assert(test=test) if scope.hook is not None:
            indent = " " * node.col_offset
            head = f"if not ({scope.source_of(test)}):\n{indent}    "
            return Mend(f"{head}return -EIO", safe=False, imports=_constant("EIO"))
        case ast.Global() | ast.Nonlocal():
            return Mend("", lines=True, safe=False)
        case ast.ImportFrom(module=str() as module, level=0, names=[alias]) if not alias.asname:
            return Mend("", lines=True, imports=((module, alias.name),))
        case ast.Delete(targets=[ast.Subscript(value=table, slice=key)]):
            return f"{scope.source_of(table)}.discard({scope.source_of(key)})"
        case ast.Delete(targets=[ast.Name()]):
            return Mend("", lines=True)
        case ast.With(body=body) if body[0].lineno > node.lineno:
            return None
    return None


def _raised(scope: Scope, exc: ast.expr | None) -> str:
    args = exc.args if isinstance(exc, ast.Call) else []
    func = exc.func if isinstance(exc, ast.Call) else exc
    name = func.id if isinstance(func, ast.Name) else ""
    if name == "OSError" and args:
        shown = scope.source_of(args[0]).split(".")[-1]
        return shown if shown.isupper() and shown.isalnum() else "EIO"
    return _ERRNOS.get(name, "EIO")


def _refusal(errno: str) -> Mend:
    return Mend(f"return -{errno}", safe=False, imports=_constant(errno))


def _constant(name: str) -> tuple[tuple[str, str], ...]:
    return (("fusebpf.constants", name),)


def single_assignments(scope: Scope, node: ast.Assign) -> Mend | None:
    """``a, b = 1, 2`` as one assignment after the other."""
    sides = (*node.targets, node.value)
    if len(sides) != 2 or not all(isinstance(side, ast.Tuple | ast.List) for side in sides):
        return None
    names, values = (side.elts for side in sides)  # type: ignore[attr-defined]
    if len(names) != len(values) or not all(isinstance(n, ast.Name) for n in names):
        return None
    used = {n.id for v in values for n in ast.walk(v) if isinstance(n, ast.Name)}
    if used & {n.id for n in names}:
        return None
    pairs = [(n.id, scope.source_of(v)) for n, v in zip(names, values, strict=True)]
    indent = " " * node.col_offset
    return Mend(f"\n{indent}".join(f"{name} = {value}" for name, value in pairs), at=node)


def with_minus(scope: Scope, node: ast.expr, left: bool) -> Mend | None:
    """Put the minus before the errno of a comparison, which is its left side or the other."""
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return None
    side = node.left if left else node.comparators[0]
    return Mend(f"-{scope.source_of(side)}", at=side)


def with_default(scope: Scope, node: ast.expr) -> Mend | None:
    """``m.get(key)`` with a default."""
    if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords:
        return None
    shown = f"{scope.source_of(node.func)}({scope.source_of(node.args[0])}, 0)"
    return Mend(shown, safe=False)
