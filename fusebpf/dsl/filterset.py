# SPDX-License-Identifier: MIT
"""FilterSet: what a filter file declares."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from fusebpf.dsl.config import Config, make_config
from fusebpf.dsl.errors import DslError
from fusebpf.dsl.generated import GeneratedHooks
from fusebpf.dsl.maps import (
    ArrayMap,
    HashMap,
    LruHashMap,
    Map,
    PerCpuArrayMap,
    PerCpuHashMap,
    check_declaration,
)
from fusebpf.dsl.objects import Context
from fusebpf.dsl.values import Verdict

R = TypeVar("R", bound="Verdict | None")


class FilterSet(GeneratedHooks):
    """A named set of filters and maps that is loaded and attached as one.

    ``@filters.lookup.pre`` and its like register a function; ``filters.hash(...)`` and its like
    declare a map. Raises ``DslError`` at the line of a mistake.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
            raise DslError(
                "E124",
                f"{name!r} cannot be the name of a filter set",
                "use 1 to 64 letters, digits, '_', '.' or '-'",
            )
        self.name = name
        self.maps: dict[str, Map] = {}
        self.configs: dict[str, Config] = {}

    def __repr__(self) -> str:
        return f"<FilterSet {self.name!r}: {len(self.filters)} filters, {len(self.maps)} maps>"

    def default(self, function: Callable[[Context], R]) -> Callable[[Context], R]:
        """Run ``function`` for operations without a filter of their own."""
        return self.register("default_filter", "default", function)

    def hash(self, name: str, *, key: type[int], value: type[int], max_entries: int) -> HashMap:
        """A table from keys to values."""
        self._check(name, {"key": key, "value": value}, max_entries)
        self.maps[name] = made = HashMap(name, key, value, max_entries)
        return made

    def lru_hash(
        self, name: str, *, key: type[int], value: type[int], max_entries: int
    ) -> LruHashMap:
        """A hash that is never full: it forgets the entry unused for longest."""
        self._check(name, {"key": key, "value": value}, max_entries)
        self.maps[name] = made = LruHashMap(name, key, value, max_entries)
        return made

    def percpu_hash(
        self, name: str, *, key: type[int], value: type[int], max_entries: int
    ) -> PerCpuHashMap:
        """A hash with one value per CPU; user space reads the sum."""
        self._check(name, {"key": key, "value": value}, max_entries)
        self.maps[name] = made = PerCpuHashMap(name, key, value, max_entries)
        return made

    def array(self, name: str, *, value: type[int], max_entries: int) -> ArrayMap:
        """``max_entries`` values indexed from 0."""
        self._check(name, {"value": value}, max_entries)
        self.maps[name] = made = ArrayMap(name, value, max_entries)
        return made

    def percpu_array(self, name: str, *, value: type[int], max_entries: int) -> PerCpuArrayMap:
        """An array with one value per CPU; user space reads the sum."""
        self._check(name, {"value": value}, max_entries)
        self.maps[name] = made = PerCpuArrayMap(name, value, max_entries)
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
        self.configs[name] = made = make_config(name, kind, default, least, most, self.configs)
        return made

    def _check(self, name: object, types: dict[str, object], max_entries: object) -> None:
        check_declaration(name, types, max_entries, self.maps)
