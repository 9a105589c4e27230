# SPDX-License-Identifier: MIT
"""One predicate, all hooks: the filters that ``@filters.visible`` and its siblings stand for.

Written as Python and checked as if the author had written them at the predicate, so that every
hook in which a name appears answers alike: no phantom entry, no back door.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence

from fusebpf import constants
from fusebpf.compiler.scope import Unit
from fusebpf.dsl.predicates import Predicate
from fusebpf.dsl.values import POSTFILTER

#: What the texts below mention.
_KNOWN = {
    "_ENOENT": constants.ENOENT,
    "_EPERM": constants.EPERM,
    "_EACCES": constants.EACCES,
    "_POSTFILTER": POSTFILTER,
    "_O_ACCMODE": constants.O_ACCMODE,
    "_O_RDONLY": constants.O_RDONLY,
    "_O_TRUNC": constants.O_TRUNC,
    "_FATTR_SIZE": constants.FATTR_SIZE,
}

_MAKING = {
    "create_open": "ctx, req, name",
    "mknod": "ctx, req, name",
    "mkdir": "ctx, req, name",
    "symlink": "ctx, name, path",
    "link": "ctx, req, name",
}
_REMOVING = {"unlink": "ctx, name", "rmdir": "ctx, name"}
_MOVING = {"rename2": "ctx, req, old, new"}


def _refusing(ops: dict[str, str], errno: str) -> dict[str, tuple[str, str]]:
    body = f"if not _P(ctx, name):\n    return -{errno}"
    return {f"{op}_prefilter": (params, body) for op, params in ops.items()}


def _moving(old: str, new: str) -> dict[str, tuple[str, str]]:
    body = ""
    for side, errno in (("old", old), ("new", new)):
        if errno:
            body += f"if not _P(ctx, {side}):\n    return -{errno}\n"
    return {f"{op}_prefilter": (params, body) for op, params in _MOVING.items()}


_WRITING = "if not _P(ctx):\n    return -_EACCES"

#: Parameters and body by hook, for each kind of predicate; ``_P`` is the predicate.
_FILTERS: dict[str, dict[str, tuple[str, str]]] = {
    "visible": {
        "lookup_prefilter": ("ctx, name", "if not _P(ctx, name):\n    return -_ENOENT"),
        "readdir_prefilter": ("ctx, req", "return _POSTFILTER"),
        "readdir_postfilter": (
            "ctx, req, out, entries",
            # "." and ".." are looked up nowhere: they are in every listing.
            "for entry in entries:\n"
            '    if entry.name not in (".", "..") and not _P(ctx, entry.name):\n'
            "        entry.drop()",
        ),
        # A name is looked up before it is made: the same answer from both.
        **_refusing({**_MAKING, **_REMOVING}, "_ENOENT"),
        **_moving("_ENOENT", "_ENOENT"),
    },
    "creatable": {**_refusing(_MAKING, "_EPERM"), **_moving("", "_EPERM")},
    # A rename takes the old name away, and what is at the new one, be there something or not.
    "deletable": {**_refusing(_REMOVING, "_EPERM"), **_moving("_EPERM", "_EPERM")},
    "writable": {
        "open_prefilter": (
            "ctx, req",
            "if req.flags & _O_ACCMODE != _O_RDONLY or req.flags & _O_TRUNC:\n"
            + textwrap.indent(_WRITING, "    "),
        ),
        "create_open_prefilter": ("ctx, req, name", _WRITING),
        "file_fallocate_prefilter": ("ctx, req", _WRITING),
        "setattr_prefilter": (
            "ctx, req",
            "if req.valid & _FATTR_SIZE:\n" + textwrap.indent(_WRITING, "    "),
        ),
    },
}


def expand(unit: Unit, predicates: Sequence[Predicate]) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Hook and definition of every filter that predicates of the set stand for.

    The unit's globals get what they mention.
    """
    if not predicates:
        return
    known = {**unit.globals, **{_own(name): value for name, value in _KNOWN.items()}}
    unit.globals = known
    for number, predicate in enumerate(predicates, 1):
        name = f"_P{number}"
        known[_own(name)] = predicate.function
        for hook, (params, body) in _FILTERS[predicate.kind].items():
            yield hook, _definition(predicate, name, hook, params, body)


def _own(name: str) -> str:
    """A name that no author's can be, nor hide."""
    return f"<fusebpf>.{name}"


def _definition(
    predicate: Predicate, name: str, hook: str, params: str, body: str
) -> ast.FunctionDef:
    title = f"{predicate.function.__name__}_{hook.removesuffix('filter')}"
    text = f"def {title}({params}):\n{textwrap.indent(body.replace('_P(', name + '('), '    ')}\n"
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and inner.id in (name, *_KNOWN):
            inner.id = _own(inner.id)
        if hasattr(inner, "lineno"):
            # Findings and the verifier's log point at the predicate.
            inner.lineno = inner.end_lineno = predicate.line  # type: ignore[attr-defined]
            inner.col_offset, inner.end_col_offset = 0, 0  # type: ignore[attr-defined]
    return node
