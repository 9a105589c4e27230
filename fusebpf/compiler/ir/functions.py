# SPDX-License-Identifier: MIT
"""Functions, what a set declares, and the whole of it."""

from __future__ import annotations

from dataclasses import field

from fusebpf.abi.record import Record
from fusebpf.compiler.ir.statements import Stmt
from fusebpf.compiler.types import IntType, RecordType, Type
from fusebpf.frozen import dataclass


@dataclass(frozen=True)
class Param:
    """One parameter; ``arg`` is its name in the opcode table ("" for ctx and in helpers)."""

    name: str
    type: Type
    arg: str = ""
    writable: bool = False


@dataclass(frozen=True)
class LocalVar:
    """A local variable; ``optional`` ones have a Boolean half."""

    name: str
    type: Type
    optional: bool = False


@dataclass(frozen=True)
class Function:
    """A filter (``hook`` is set, returns a verdict) or a helper (``hook`` is None)."""

    name: str
    hook: str | None
    line: int
    params: tuple[Param, ...]
    locals: tuple[LocalVar, ...]
    returns: Type
    body: tuple[Stmt, ...]
    #: Path of the file that its lines are in.
    file: str = ""
    #: Names of locals that live in the operation's frame memory.
    frame: frozenset[str] = frozenset()
    #: Emitter only: many branches, so that values are loaded anew for each test.
    branchy: bool = False
    #: Lookup filters: the answer depends on the name and constants alone, and may be kept.
    pure: bool = False
    #: Emitter only: a function of its own, verified once for all callers; else it is inlined.
    alone: bool = False
    #: Emitter only: a function of its own that is given the bytes of whole names, verified with
    #: each caller; else it is inlined.
    shared: bool = False
    #: Made where sets are joined: it calls the filters, and has no lines of its own.
    composed: bool = False


@dataclass(frozen=True)
class MapDecl:
    """A map; sizes in entries."""

    name: str
    kind: str
    key: IntType | RecordType
    value: IntType | RecordType
    max_entries: int

    @property
    def is_array(self) -> bool:
        """Whether keys are indices and every one of them has a value."""
        return self.kind in ("array", "percpu_array")

    @property
    def forgets(self) -> bool:
        """Whether it is never full, but forgets what was not used for longest."""
        return self.kind.startswith("lru_")

    @property
    def is_automaton(self) -> bool:
        """Whether it holds states of an automaton, and the language knows nothing else of it."""
        return isinstance(self.value, RecordType) and self.value.record.name == "Transitions"


@dataclass(frozen=True)
class EventDecl:
    """A kind of event; ``size`` is that of its ring in bytes."""

    name: str
    record: Record
    size: int


@dataclass(frozen=True)
class ConfigDecl:
    """A value chosen at load; its default."""

    name: str
    type: Type
    default: int
    least: int
    most: int


@dataclass(frozen=True)
class Program:
    """A filter set: helpers come before the functions that call them."""

    name: str
    file: str
    maps: tuple[MapDecl, ...]
    helpers: tuple[Function, ...]
    filters: tuple[Function, ...]
    #: Whether a ``+=`` on a hash may count in the set's ``lost`` counter.
    counts_lost: bool = field(default=False)
    configs: tuple[ConfigDecl, ...] = ()
    events: tuple[EventDecl, ...] = ()
