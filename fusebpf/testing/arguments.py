# SPDX-License-Identifier: MIT
"""Between what a test's author writes for arguments and what the runs take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import fusebpf.dsl as dsl
from fusebpf.abi import DEFAULT_FILTER, Arg, Hook, Struct
from fusebpf.constants import O_CREAT, O_EXCL, O_NOCTTY
from fusebpf.dsl.objects import Bytes
from fusebpf.dsl.objects import Struct as DslStruct
from fusebpf.dsl.values import Errno, Verdict
from fusebpf.errors import UsageError
from fusebpf.spelling import closest
from fusebpf.testing.case import Caller, Case, Cell, Entry, Outcome, Values, leaves
from fusebpf.testing.opcodes import TMPFILE, no_opcode, opcode_of

_CALLER = ("uid", "gid", "euid", "egid", "pid", "tid")
_CONTEXT = (*_CALLER, "nodeid", "tag", "tag2", "ktime", "error_in")

_TAKEN_OUT = {"O_CREAT": O_CREAT, "O_EXCL": O_EXCL, "O_NOCTTY": O_NOCTTY}

#: Its filters are asked for a file without a name, too: O_TMPFILE.
_CREATE = "create_open"

#: Monotonic time where a test does not say: a second after boot. 0 would be the kernel's own.
_KTIME = 1_000_000_000


def _number(name: str, value: object) -> int:
    """A member of the context. ``error_in`` may be written as the negated errno it is."""
    if isinstance(value, Verdict) and name == "error_in":
        return value.value
    if isinstance(value, Errno) or (name == "error_in" and isinstance(value, int) and value > 0):
        raise UsageError(f"{name}={value!r}: the minus is missing", f"{name}=-{value!r}")
    if not isinstance(value, int):
        raise UsageError(f"{name}={value!r} is no number", f"e.g. {name}=1")
    limit = 32 if name in _CALLER else 64
    if name != "error_in" and not 0 <= value < 1 << limit:
        raise UsageError(f"{name}={value!r} does not fit {limit} bits")
    return int(value)


def _check_flags(shown: str, struct: Struct, values: Values) -> None:
    """Refuse flags of open(2) that no filter sees: the kernel has done what they say."""
    if struct.name not in ("fuse_open_in", "fuse_create_in"):
        return
    found = [name for name, bit in _TAKEN_OUT.items() if values["flags"] & bit]
    if found:
        listed = " and ".join(found)
        raise UsageError(
            f"{shown}.flags has {listed}: the kernel takes that out before it asks a filter",
            f"leave {listed} out",
        )


def _values(struct: Struct, given: object) -> Values:
    found: Values = {}
    for path, *_ in leaves(struct):
        value = given
        for member in path.split("."):
            value = getattr(value, member)
        assert isinstance(value, int)
        found[path] = value
    return found


def struct_of(struct: Struct, values: Mapping[str, int]) -> object:
    """The instance of a struct's class that has these values."""
    made = getattr(dsl, struct.py_name)()
    for path, value in values.items():
        *outer, member = path.split(".")
        inner = made
        for name in outer:
            inner = getattr(inner, name)
        setattr(inner, member, value)
    return made


def shown(value: object) -> str:
    """An argument as its author would write it: a struct without its zeros."""
    if not isinstance(value, DslStruct):
        return repr(value)
    members = {k: shown(v) for k, v in vars(value).items() if v and shown(v)[-2:] != "()"}
    return f"{type(value).__name__}({', '.join(f'{k}={v}' for k, v in members.items())})"


def _text(shown: str, arg: Arg, given: object, nameless: bool) -> bytes:
    if not isinstance(given, str | bytes | Bytes):
        raise UsageError(f"{shown}={given!r} is no text", f'e.g. {shown}="a.txt"')
    raw = Bytes(given).raw if not isinstance(given, Bytes) else given.raw
    if arg.kind == "name" and ((not raw and not nameless) or b"\0" in raw):
        raise UsageError(f"{shown}={given!r} cannot be a name", "names have 1 to 255 bytes, no NUL")
    most = min(arg.max_size - (arg.kind == "name"), 4095)
    if len(raw) > most:
        raise UsageError(f"{shown} has {len(raw)} bytes; at most {most} are possible")
    return raw


def _entries(shown: str, given: object) -> tuple[Entry, ...]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise UsageError(f"{shown}={given!r} is no listing", f'e.g. {shown}=["a", "b"]')
    found = []
    for entry in given:
        made = entry if isinstance(entry, Entry) else Entry(Bytes(entry).raw)
        if not 0 < len(made.name) <= 255 or b"\0" in made.name:
            raise UsageError(f"{made.name!r} cannot be a name", "names have 1 to 255 bytes, no NUL")
        found.append(made)
    return tuple(found)


def make_case(
    hook: Hook,
    names: Mapping[str, str],
    given: Mapping[str, Any],
    maps: dict[str, dict[Cell, Cell]],
) -> Case:
    """The case of a call; ``names`` are the filter's own of arguments, by those of the table.
    What the default filter decides is given as ``opcode``.

    Raises UsageError for what the hook does not have, or what does not fit it.
    """
    args = {names.get(arg.name, arg.name): arg for arg in hook.args}
    opcode = hook.opcode
    if hook is DEFAULT_FILTER:
        if "opcode" not in given:
            raise no_opcode()
        given = dict(given)
        opcode = opcode_of(given.pop("opcode"))
    context: dict[str, int] = {"ktime": _KTIME}
    structs: dict[str, Values] = {}
    buffers: dict[str, bytes] = {
        arg.name: b"x" if arg.kind == "name" else b"" for arg in args.values() if not arg.struct
    }
    listing: tuple[Entry, ...] = ()
    for name, value in given.items():
        arg = args.get(name)
        if arg is None and name in _CONTEXT:
            context[name] = _number(name, value)
        elif arg is None:
            known = [*args, *_CONTEXT, *(["opcode"] if hook is DEFAULT_FILTER else [])]
            near = closest(name, known)
            called = hook.op if hook is DEFAULT_FILTER else f"{hook.op}.{hook.phase}"
            raise UsageError(
                f"{called} has no argument {name!r}",
                f"did you mean {near!r}?" if near else f"it has: {', '.join(known)}",
            )
        elif arg.struct is not None:
            if type(value).__name__ != arg.struct.py_name:
                raise UsageError(
                    f"{name}={value!r} is no {arg.struct.py_name}",
                    f"e.g. {name}={arg.struct.py_name}()",
                )
            structs[arg.name] = _values(arg.struct, value)
            _check_flags(name, arg.struct, structs[arg.name])
        elif arg.kind == "dirents":
            listing = _entries(name, value)
        else:
            buffers[arg.name] = _text(name, arg, value, hook.op == _CREATE)
    if hook.op == _CREATE and not buffers["name"]:
        opcode = TMPFILE
    caller = {key: context.pop(key) for key in _CALLER if key in context}
    # Most callers run with one id.
    caller.setdefault("euid", caller.get("uid", 0))
    caller.setdefault("egid", caller.get("gid", 0))
    caller.setdefault("tid", caller.get("pid", 1))
    return Case(structs, buffers, listing, Caller(**caller), maps=maps, opcode=opcode, **context)


def arguments_of(
    hook: Hook, names: Mapping[str, str], case: Case, outcome: Outcome
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every argument after the call, and the values that changed, by dotted path."""
    after: dict[str, Any] = {}
    changed: dict[str, Any] = {}
    for arg in hook.args:
        shown = names.get(arg.name, arg.name)
        if arg.struct is not None:
            values = outcome.structs.get(arg.name, case.structs.get(arg.name, {}))
            before = case.structs.get(arg.name, {})
            after[shown] = struct_of(arg.struct, values)
            changed |= {f"{shown}.{k}": v for k, v in values.items() if v != before.get(k, 0)}
        elif arg.kind == "dirents":
            after[shown] = outcome.listing
            if outcome.listing != case.listing:
                changed[shown] = [entry.name for entry in outcome.listing]
        else:
            old = case.buffers[arg.name]
            after[shown] = new = outcome.buffers.get(arg.name, old)
            if new != old:
                changed[shown] = new
    return after, changed
