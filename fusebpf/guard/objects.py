# SPDX-License-Identifier: MIT
"""The compiled filters of guard.

Importing the language and translating the filters takes half a second, most of what `guard run`
would add to a command. What they were compiled to is found by the call that makes them.
"""

from __future__ import annotations

from pathlib import Path

from fusebpf.build import unchanged
from fusebpf.objfile import ObjectBytes


def compiled(states: int, callers: bool, audit: bool, deny: bool, empty: bool) -> ObjectBytes:
    """The object of ``filters`` with these arguments. Raises BuildError.

    As bytes: what lies at a path of the cache may be another's by the time that it is read again.
    """
    maker = Path(__file__).with_name("filters.py")
    call = f"filters({states}, {callers}, audit={audit}, deny={deny}, empty={empty})"
    found = unchanged.lookup(maker, call, None)
    if found is not None:
        return ObjectBytes(maker, found[0])
    from fusebpf.build import build_set
    from fusebpf.guard.filters import filters

    made = filters(states, callers, audit=audit, deny=deny, empty=empty)
    built = build_set(made, standins=False)
    unchanged.store(maker, call, None, built.path, "")
    return ObjectBytes(maker, built.data)
