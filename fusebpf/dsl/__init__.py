# SPDX-License-Identifier: MIT
"""What a filter's author imports. Needs neither clang, libbpf nor Linux headers."""

from fusebpf.dsl.errors import DslError, UnknownHookError
from fusebpf.dsl.events import Events
from fusebpf.dsl.filterset import FilterSet
from fusebpf.dsl.generated import *  # noqa: F403
from fusebpf.dsl.generated import __all__ as _structs
from fusebpf.dsl.hooks import Filter
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
)
from fusebpf.dsl.objects import Buffer, Context, Dirent, Dirents, Name
from fusebpf.dsl.values import (
    CALL_DEFAULT,
    CONTINUE,
    POSTFILTER,
    USER,
    USER_POSTFILTER,
    USER_PREFILTER,
    Errno,
    Verdict,
    debug,
    refuse,
)

__all__ = [
    "CALL_DEFAULT",
    "CONTINUE",
    "POSTFILTER",
    "USER",
    "USER_POSTFILTER",
    "USER_PREFILTER",
    "ArrayMap",
    "Automaton",
    "Buffer",
    "Context",
    "Dirent",
    "Dirents",
    "DslError",
    "Errno",
    "Events",
    "Filter",
    "FilterSet",
    "HashMap",
    "LpmTrie",
    "LruHashMap",
    "LruPerCpuHashMap",
    "Map",
    "Name",
    "PerCpuArrayMap",
    "PerCpuHashMap",
    "UnknownHookError",
    "Verdict",
    "debug",
    "refuse",
]
__all__ += _structs
