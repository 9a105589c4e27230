# SPDX-License-Identifier: MIT
"""What the functions of a program are called in C, and what is made of those names."""

from __future__ import annotations

from collections.abc import Mapping

from fusebpf.abi.opcodes import COVERED
from fusebpf.compiler import ir
from fusebpf.compiler.cnames import identifier
from fusebpf.compiler.types import BUFFER
from fusebpf.compiler.walk import parts, statements


def functions_of(program: ir.Program) -> tuple[dict[str, str], list[str]]:
    """The C names of functions, and all that nothing else at the top of the file can be called."""
    names: dict[str, str] = {}
    taken = [m.name for m in program.maps] + [e.name for e in program.events]
    for function in (*program.helpers, *program.filters):
        ends = _ends(function)
        names[function.name] = name = identifier(function.name, taken, function.alone, ends)
        taken += [f"{name}{end}" for end in ends]
    return names, taken


def covered_by(function: ir.Function) -> list[str]:
    """Operations whose hooks a filter serves besides its own."""
    op = (function.hook or "").rpartition("_")[0]
    return [covered for covered, by in COVERED.items() if by == op]


def buffers_read(function: ir.Function, helpers: Mapping[str, ir.Function]) -> set[str]:
    """The buffers that a function looks into, itself or in a helper that it passes them to."""
    found: set[str] = set()
    pending: list[ir.Expr | ir.Stmt] = list(statements(function.body))
    while pending:
        node = pending.pop()
        for part in parts(node):
            if not (isinstance(part, ir.Local) and part.type == BUFFER):
                pending.append(part)
            elif not isinstance(node, ir.Call):
                found.add(part.name)
        if isinstance(node, ir.Call):
            inner = helpers[node.function]
            read = buffers_read(inner, helpers)
            found |= {
                arg.name
                for arg, param in zip(node.args, inner.params, strict=True)
                if isinstance(arg, ir.Local) and arg.type == BUFFER and param.name in read
            }
    return found


def _ends(function: ir.Function) -> list[str]:
    """What is put behind a function's name, by the emitter and by the macros of the headers."""
    if function.hook is None:
        return [""]
    names = ["", *(f"_{covered}" for covered in covered_by(function))]
    return [f"{name}{end}" for name in names for end in ("", "_ops", "_standin")]
