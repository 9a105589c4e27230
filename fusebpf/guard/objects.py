# SPDX-License-Identifier: MIT
"""The compiled filters of guard.

Importing the language and translating the filters takes half a second, most of what `guard run`
would add to a command. What they were compiled to is found by the call that makes them.
"""

from __future__ import annotations

from pathlib import Path

from fusebpf.build import unchanged


def compiled(states: int, callers: bool, audit: bool) -> Path:
    """The object of ``filters(states, callers, audit=audit)``. Raises BuildError."""
    maker = Path(__file__).with_name("filters.py")
    call = f"filters({states}, {callers}, audit={audit})"
    found = unchanged.place(maker, call, None)
    if found is None:
        from fusebpf.build import build_set
        from fusebpf.guard.filters import filters

        found = build_set(filters(states, callers, audit=audit), standins=False).path
        unchanged.store(maker, call, None, found, "")
    return found
