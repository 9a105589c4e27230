# SPDX-License-Identifier: MIT
"""Which helpers are functions that several filters call, instead of a copy in each of them.

Inlining lets clang know whether it makes the program for the kernel or its stand-in, and that is
what a helper needs that asks for the context or a buffer's contents. One that compares whole names
does not: the bytes and their number are all that it sees. What such a helper does is the greater
part of clang's work where one predicate stands in a dozen hooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fusebpf.compiler import ir
from fusebpf.compiler.costs import Cost
from fusebpf.compiler.lower import MAX_ARGS, frame_size
from fusebpf.compiler.types import CONTEXT, NAME, NONE, BoolType, IntType, VerdictType
from fusebpf.compiler.walk import expressions, statements

#: Smaller ones, in estimated instructions, are hardly more than the call; so is their share of
#: clang's time where they have fewer callers.
_LEAST_SIZE, _LEAST_CALLS = 30, 3

_SCALAR = IntType | BoolType | VerdictType
_STATEMENTS = ir.Assign | ir.If | ir.For | ir.Break | ir.Continue | ir.Return
#: What needs the context, the kernel's own buffer, or memory of the operation.
_NOT_ALONE = (
    ir.CtxField
    | ir.StructField
    | ir.DirentField
    | ir.DirentName
    | ir.NameJoin
    | ir.NameWalk
    | ir.MakeRecord
    | ir.MapGet
    | ir.MapHas
    | ir.MapItem
    | ir.MapPut
    | ir.MapDiscard
)


def share(program: ir.Program, costs: Mapping[str, Cost]) -> ir.Program:
    """The program with the helpers marked that are functions of their own."""
    able: set[str] = set()
    for helper in program.helpers:  # those come before their callers
        if _able(helper, able):
            able.add(helper.name)
    cut, calls = _calls((*program.helpers, *program.filters))
    chosen = {
        name
        for name in able - cut
        if calls[name] >= _LEAST_CALLS and costs[name].size >= _LEAST_SIZE
    }
    return replace(
        program,
        helpers=tuple(replace(f, shared=f.name in chosen) for f in program.helpers),
    )


def _able(function: ir.Function, able: set[str]) -> bool:
    kinds = [p.type for p in function.params]
    return (
        not function.alone
        and function.returns != NONE
        and NAME in kinds
        and all(kind in (NAME, CONTEXT) or isinstance(kind, _SCALAR) for kind in kinds)
        and sum(2 if kind == NAME else kind != CONTEXT for kind in kinds) <= MAX_ARGS
        and not frame_size(function)
        and all(_fits(stmt, able) for stmt in statements(function.body))
    )


def _fits(stmt: ir.Stmt, able: set[str]) -> bool:
    return isinstance(stmt, _STATEMENTS) and not any(
        isinstance(expr, _NOT_ALONE) or (isinstance(expr, ir.Call) and expr.function not in able)
        for expr in expressions(stmt)
    )


def _calls(functions: Iterable[ir.Function]) -> tuple[set[str], dict[str, int]]:
    """Functions that are given a part of a name; and how often each stands in the filters."""
    cut: set[str] = set()
    calls: dict[str, int] = {}
    for function in reversed(tuple(functions)):
        here = 1 if function.hook else calls.setdefault(function.name, 0)
        for stmt in statements(function.body):
            for expr in expressions(stmt):
                if not isinstance(expr, ir.Call):
                    continue
                calls[expr.function] = calls.get(expr.function, 0) + here
                if any(_cut(arg, function.name in cut) for arg in expr.args):
                    cut.add(expr.function)
    return cut, calls


def _cut(argument: ir.Expr, own: bool) -> bool:
    return isinstance(argument, ir.NamePart) or (
        own and isinstance(argument, ir.Local) and argument.type == NAME
    )
