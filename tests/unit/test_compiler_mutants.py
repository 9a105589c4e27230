# SPDX-License-Identifier: MIT
"""Damaged filters: whatever an author writes, the compiler answers with text, never a traceback."""

from __future__ import annotations

import ast
import copy
import os
import random
from pathlib import Path

import pytest

from fusebpf.compiler import compile_set, render_all
from fusebpf.dsl import FilterSet

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted([*(GOLDEN / "accept").glob("*.py"), *(GOLDEN / "errors").glob("*.py")])
#: Mutants of each file.
TRIES = int(os.environ.get("FUSEBPF_MUTANTS", "25"))


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def parts(tree: ast.Module, kind: type[ast.AST]) -> list[tuple[ast.AST, str, int | None]]:
    """Places inside functions that hold a node of a kind: owner, field, index."""
    found: list[tuple[ast.AST, str, int | None]] = []
    for function in functions(tree):
        owners = [function, *(n for stmt in function.body for n in ast.walk(stmt))]
        for owner in owners:
            for field, value in ast.iter_fields(owner):
                if field in ("decorator_list", "args", "ops", "annotation", "returns"):
                    continue
                if isinstance(value, kind):
                    found.append((owner, field, None))
                elif isinstance(value, list):
                    found += [(owner, field, i) for i, v in enumerate(value) if isinstance(v, kind)]
    return found


def get(place: tuple[ast.AST, str, int | None]) -> ast.AST:
    owner, field, index = place
    value = getattr(owner, field)
    result = value if index is None else value[index]
    assert isinstance(result, ast.AST)
    return result


def put(place: tuple[ast.AST, str, int | None], node: ast.AST) -> None:
    owner, field, index = place
    if index is None:
        setattr(owner, field, node)
    else:
        getattr(owner, field)[index] = node


def mutate(tree: ast.Module, rng: random.Random) -> None:
    """Put a random expression or statement in the place of another one of its kind."""
    for _ in range(rng.randint(1, 3)):
        kind = ast.expr if rng.random() < 0.8 else ast.stmt
        places = parts(tree, kind)
        if len(places) < 2:
            continue
        put(rng.choice(places), copy.deepcopy(get(rng.choice(places))))


def compile_mutant(source: str) -> None:
    namespace: dict[str, object] = {"__name__": "mutant"}
    try:
        exec(compile(source, "mutant.py", "exec"), namespace)
    except Exception:
        return  # the file itself cannot be imported
    fset = next(value for value in namespace.values() if isinstance(value, FilterSet))
    result = compile_set("mutant.py", source, fset, namespace)
    text = render_all(result.diagnostics, source)
    assert not any(d.code == "E999" for d in result.diagnostics), text
    failed = any(d.severity == "error" for d in result.diagnostics)
    assert failed == (result.c_source is None)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mutants(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for seed in range(TRIES):
        mutant = copy.deepcopy(tree)
        mutate(mutant, random.Random(f"{path.stem} {seed}"))
        try:
            source = ast.unparse(ast.fix_missing_locations(mutant))
        except (AttributeError, TypeError, ValueError):
            continue  # not a program at all
        compile_mutant(source)
