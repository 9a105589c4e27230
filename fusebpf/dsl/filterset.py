# SPDX-License-Identifier: MIT
"""FilterSet: what a filter file declares."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

from fusebpf.dsl.config import Config, make_config
from fusebpf.dsl.errors import DslError, caller
from fusebpf.dsl.events import Events
from fusebpf.dsl.generated import GeneratedHooks
from fusebpf.dsl.maps import (
    ArrayMap,
    Automaton,
    HashMap,
    LpmTrie,
    LruHashMap,
    LruPerCpuHashMap,
    Map,
    PerCpuArrayMap,
    PerCpuHashMap,
    check_declaration,
    check_prefix_key,
)
from fusebpf.dsl.objects import Context, Name
from fusebpf.dsl.parts import check_parts, members
from fusebpf.dsl.predicates import Kind, Predicate
from fusebpf.dsl.records import MAX_EVENT, record_of
from fusebpf.dsl.values import Verdict

R = TypeVar("R", bound="Verdict | None")
F = TypeVar("F", bound=Callable[..., bool])
M = TypeVar("M", bound=Map)
NamePredicate = Callable[[Context, Name], bool]
T = TypeVar("T")


class FilterSet(GeneratedHooks):
    """A named set of filters and maps that is loaded and attached as one.

    ``@filters.lookup.pre`` and its like register a function; ``filters.hash(...)`` and its like
    declare a map. ``FilterSet("all", first, second)`` joins sets: their filters run in this order,
    then those of the set itself. Raises ``DslError`` at the line of a mistake.
    """

    def __init__(self, name: str, *parts: FilterSet) -> None:
        super().__init__()
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
            raise DslError(
                "E124",
                f"{name!r} cannot be the name of a filter set",
                "use 1 to 64 letters, digits, '_', '.' or '-'",
                instead=(name, re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:64].strip("-") or "filters")
                if isinstance(name, str) and name
                else None,
            )
        self.name = name
        self.maps: dict[str, Map] = {}
        self.event_kinds: dict[str, Events[Any]] = {}
        self.configs: dict[str, Config] = {}
        self.predicates: list[Predicate] = []
        check_parts(name, parts)
        self.parts = parts
        #: Where it is made.
        self.file, self.line = caller()
        for part in parts:
            part.part_of = name

    def __repr__(self) -> str:
        return f"<FilterSet {self.name!r}: {len(self.filters)} filters, {len(self.maps)} maps>"

    def default(self, function: Callable[[Context], R]) -> Callable[[Context], R]:
        """Run ``function`` for operations without a filter of their own."""
        return self.register("default_filter", "default", function)

    def visible(self, function: NamePredicate) -> NamePredicate:
        """Names for which ``function`` is false do not exist: in no lookup, listing, or change.

        To look one up, make, move or remove it gives ENOENT.
        """
        return self._predicate("visible", function)

    def creatable(self, function: NamePredicate) -> NamePredicate:
        """No new entry gets a name for which ``function`` is false: EPERM."""
        return self._predicate("creatable", function)

    def deletable(self, function: NamePredicate) -> NamePredicate:
        """An entry is not removed, moved or replaced where ``function`` is false: EPERM.

        A move is asked with both names, also where nothing has the new one yet.
        """
        return self._predicate("deletable", function)

    def writable(self, function: Callable[[Context], bool]) -> Callable[[Context], bool]:
        """No file is opened for writing, made or resized where ``function`` is false: EACCES.

        It gets the context alone, whose ``tag`` can say what the file is.
        """
        return self._predicate("writable", function)

    def _predicate(self, kind: Kind, function: F) -> F:
        self.check_open(kind)
        if not isinstance(function, FunctionType):
            raise DslError(
                "E111",
                f"@filters.{kind} decorates a {type(function).__name__}, not a function",
                "put the decorator directly above a `def`, as the only decorator",
            )
        self.predicates.append(Predicate(kind, function, function.__code__.co_firstlineno))
        return function

    def hash(self, name: str, *, key: type[Any], value: type[Any], max_entries: int) -> HashMap:
        """A table from keys to values."""
        self._check(name, {"key": key, "value": value}, max_entries)
        return self._add(HashMap(name, key, value, max_entries))

    def lru_hash(
        self, name: str, *, key: type[Any], value: type[Any], max_entries: int
    ) -> LruHashMap:
        """A hash that is never full: it forgets the entry unused for longest."""
        self._check(name, {"key": key, "value": value}, max_entries)
        return self._add(LruHashMap(name, key, value, max_entries))

    def percpu_hash(
        self, name: str, *, key: type[Any], value: type[Any], max_entries: int
    ) -> PerCpuHashMap:
        """A hash with one value per CPU; user space reads the sum."""
        self._check(name, {"key": key, "value": value}, max_entries)
        return self._add(PerCpuHashMap(name, key, value, max_entries))

    def lru_percpu_hash(
        self, name: str, *, key: type[Any], value: type[Any], max_entries: int
    ) -> LruPerCpuHashMap:
        """A hash with one value per CPU that is never full; user space reads the sum."""
        self._check(name, {"key": key, "value": value}, max_entries)
        return self._add(LruPerCpuHashMap(name, key, value, max_entries))

    def lpm_trie(self, name: str, *, key: type[Any], value: type[Any], max_entries: int) -> LpmTrie:
        """A table from prefixes to values; ``get`` finds the longest prefix that fits."""
        self._check(name, {"key": key, "value": value}, max_entries)
        made = LpmTrie(name, key, value, max_entries)
        check_prefix_key(name, made.key_record)
        return self._add(made)

    def array(self, name: str, *, value: type[Any], max_entries: int) -> ArrayMap:
        """``max_entries`` values indexed from 0."""
        self._check(name, {"value": value}, max_entries)
        return self._add(ArrayMap(name, value, max_entries))

    def automaton(self, name: str, *, states: int) -> Automaton:
        """An automaton over the bytes of names, whose states user space sets.

        ``fusebpf.filters.transitions`` makes them of patterns.
        """
        self._check(name, {}, states)
        return self._add(Automaton(name, states))

    def percpu_array(self, name: str, *, value: type[Any], max_entries: int) -> PerCpuArrayMap:
        """An array with one value per CPU; user space reads the sum."""
        self._check(name, {"value": value}, max_entries)
        return self._add(PerCpuArrayMap(name, value, max_entries))

    def events(self, name: str, cls: type[T], *, size: int = 1 << 16) -> Events[T]:
        """Records that filters send to user space; the ring holds ``size`` bytes (a power of 2)."""
        self._check(name, {}, 1)
        if not isinstance(size, int) or not 4096 <= size <= 1 << 28 or size & (size - 1):
            raise DslError(
                "E123",
                f"the ring of events {name!r} cannot have {size} bytes",
                "use a power of 2 from 4096, e.g. size=1 << 16",
                word="size",
                instead=(str(size), str(max(4096, min(1 << size.bit_length(), 1 << 28))))
                if isinstance(size, int) and size > 0
                else None,
            )
        record = record_of(f"events {name!r}", cls, MAX_EVENT)
        self.event_kinds[name] = made = Events(name, cls, record, size)
        return made

    def config(
        self,
        name: str,
        kind: type[int],
        default: int,
        *,
        least: int | None = None,
        most: int | None = None,
    ) -> int:
        """A value that is chosen when the set is attached: ``--set NAME=VALUE``.

        ``kind`` is bool or a type of ``fusebpf.types``; ``least`` and ``most`` bound what can be
        chosen, and the compiler relies on them.
        """
        self.check_open(name)
        taken = {k: v for member in members(self) for k, v in member.configs.items()}
        self.configs[name] = made = make_config(name, kind, default, least, most, taken)
        return made

    def _check(self, name: object, types: dict[str, object], max_entries: object) -> None:
        self.check_open(name)
        taken = {k for member in members(self) for k in (*member.maps, *member.event_kinds)}
        check_declaration(name, types, max_entries, taken)

    def _add(self, made: M) -> M:
        self.maps[made.name] = made
        return made
