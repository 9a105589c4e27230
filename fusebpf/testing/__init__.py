# SPDX-License-Identifier: MIT
"""Call filters without a mount, as typed Python or on this host's kernel, and see what they do.

    guard = load("guard.py")
    result = guard.call("lookup.pre", name=".env", uid=1000)
    assert result.verdict == -ENOENT

Names are imported on first use: the pytest plugin is loaded by every pytest run of its environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusebpf.testing.case import Entry
    from fusebpf.testing.filterrun import DisagreementError, FilterRun, LoadFilters, load
    from fusebpf.testing.result import Place, Result

__all__ = ["DisagreementError", "Entry", "FilterRun", "LoadFilters", "Place", "Result", "load"]

_MODULES = {"Entry": "case", "Place": "result", "Result": "result"}


if not TYPE_CHECKING:  # from type checkers, which would take every name for known

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'fusebpf.testing' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"fusebpf.testing.{_MODULES.get(name, 'filterrun')}"), name)
