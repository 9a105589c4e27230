# SPDX-License-Identifier: MIT
"""How a decorator registers a function: the part of FilterSet that does not depend on the table."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from fusebpf.dsl.errors import DslError, UnknownHookError
from fusebpf.frozen import dataclass
from fusebpf.spelling import closest

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Filter:
    """A registered filter: ``hook`` is e.g. ``lookup_prefilter``; ``line`` is its first line."""

    hook: str
    function: FunctionType
    line: int


class HookTable:
    """The filters of a set, and one attribute per operation."""

    def __init__(self) -> None:
        self.filters: list[Filter] = []
        #: Name of the set that this one is a part of.
        self.part_of = ""

    def check_open(self, what: object) -> None:
        """Raise ``DslError`` when the set is a part of another already: it stays as it is."""
        if self.part_of:
            raise DslError(
                "E129",
                f"{what} comes too late: the set is a part of {self.part_of!r} already",
                "put it above the line that joins the sets, or into the joined set",
            )

    def operations(self) -> list[str]:
        """Attributes that hold hooks."""
        return sorted(k for k, v in vars(self).items() if isinstance(v, Hooks))

    @classmethod
    def declarations(cls) -> list[str]:
        """Methods of a set: decorators, maps, events and config values."""
        own = [k for k in dir(cls) if not k.startswith("_") and not hasattr(HookTable, k)]
        return [k for k in own if callable(getattr(cls, k))]

    def register(self, hook: str, shown: str, function: F) -> F:
        """Note a filter. Raises ``DslError`` when it is no function or the hook is taken."""
        if not isinstance(function, FunctionType):
            raise DslError(
                "E111",
                f"@{shown} decorates a {type(function).__name__}, not a function",
                "put the decorator directly above a `def`, as the only decorator",
            )
        self.check_open(shown)
        for other in self.filters:
            if other.hook == hook:
                raise DslError(
                    "E112",
                    f"{other.function.__name__} already is the filter of {shown}",
                    "a hook takes one filter: join the two functions, or call one from the other",
                )
        self.filters.append(Filter(hook, function, function.__code__.co_firstlineno))
        return function

    def _missing(self, name: str) -> NoReturn:
        # Only reached for attributes that do not exist.
        if name.startswith("_"):
            raise AttributeError(name)
        near = _OPCODES.get(name.lower()) or closest(
            name, [*self.operations(), *self.declarations()]
        )
        call = _CALLS.get(name)
        help = (
            f"operations: {', '.join(self.operations())}; "
            f"decorators, maps and values: {', '.join(self.declarations())}"
        )
        if near:
            help = f"did you mean {near!r}?"
        elif call:
            help = f"{name} comes to filters as {call}: @filters.{call}.pre, or .post"
        raise UnknownHookError(
            "E110",
            f"there is no operation {name!r} to filter",
            help,
            word=name,
            instead=(f".{name}", f".{near}") if near else None,
        )

    if not TYPE_CHECKING:  # which would take every attribute for known
        __getattr__ = _missing


#: Opcodes of FUSE whose hooks have other names.
_OPCODES = {
    "read": "read_iter",
    "write": "write_iter",
    "fallocate": "file_fallocate",
    "fsyncdir": "dir_fsync",
    "readlink": "get_link",
}
#: Other words, and the operation that they come as; more than they may come as the same.
_CALLS = {
    **dict.fromkeys(("stat", "statx"), "getattr"),
    **dict.fromkeys(("chmod", "chown", "truncate"), "setattr"),
    **dict.fromkeys(("delete", "remove"), "unlink"),
    "execve": "open",
}

#: Other words for when a filter runs.
_PHASES = {
    "before": "pre",
    "prefilter": "pre",
    "enter": "pre",
    "entry": "pre",
    "after": "post",
    "postfilter": "post",
    "exit": "post",
}


class Hooks:
    """The two decorators of one operation."""

    def __init__(self, table: HookTable, op: str) -> None:
        self._table = table
        self._op = op

    def _add(self, phase: str, function: F) -> F:
        return self._table.register(f"{self._op}_{phase}filter", f"{self._op}.{phase}", function)

    def __call__(self, function: object) -> NoReturn:
        raise DslError(
            "E113",
            f"{self._op} is an operation, not a decorator",
            f"say when to run: @filters.{self._op}.pre (before) or .post (after)",
            word=self._op,
            instead=(f".{self._op}", f".{self._op}.pre"),
        )

    def _missing(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        phase = _PHASES.get(name) or closest(name, ("pre", "post"))
        raise UnknownHookError(
            "E110",
            f"{self._op!r} has no phase {name!r}",
            "use .pre (before the operation) or .post (after it)",
            word=name,
            instead=(f".{name}", f".{phase}") if phase else None,
        )

    if not TYPE_CHECKING:  # which would take every attribute for known
        __getattr__ = _missing
