# SPDX-License-Identifier: MIT
"""The compiled filters of guard.

Importing the language and translating the filters takes half a second, most of what `guard run`
would add to a command. What they were compiled to is found by the call that makes them.
"""

from __future__ import annotations

from pathlib import Path

from fusebpf.build import unchanged


def compiled(states: int, callers: bool, audit: bool, deny: bool, empty: bool) -> Path:
    """The object of ``filters`` with these arguments. Raises BuildError."""
    maker = Path(__file__).with_name("filters.py")
    call = f"filters({states}, {callers}, audit={audit}, deny={deny}, empty={empty})"
    found = unchanged.place(maker, call, None)
    if found is None:
        from fusebpf.build import build_set
        from fusebpf.guard.filters import filters

        made = filters(states, callers, audit=audit, deny=deny, empty=empty)
        found = build_set(made, standins=False).path
        unchanged.store(maker, call, None, found, "")
    return found
