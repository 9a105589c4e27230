# SPDX-License-Identifier: MIT
"""Sets that are joined into one.

Maps, events and config values of all of them have one space of names: each is reached in user
space by the name that it was declared with, and each set may use those of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusebpf.dsl.errors import DslError

if TYPE_CHECKING:
    from fusebpf.dsl.filterset import FilterSet


def members(fset: FilterSet) -> tuple[FilterSet, ...]:
    """The sets that a set is made of, in the order in which they run: its parts, then itself."""
    return (*(member for part in fset.parts for member in members(part)), fset)


def check_parts(name: str, parts: tuple[FilterSet, ...]) -> None:
    """Check what is joined into the set ``name``. Raises ``DslError``."""
    from fusebpf.dsl.filterset import FilterSet

    for part in parts:
        if not isinstance(part, FilterSet):
            raise DslError(
                "E128",
                f"{name!r} joins a {type(part).__name__}, not a FilterSet",
                "give it sets, e.g. FilterSet('all', first, second)",
            )
    joined = [member for part in parts for member in members(part)]
    for index, member in enumerate(joined):
        if any(member is other for other in joined[:index]):
            raise DslError(
                "E128", f"{name!r} joins {member.name!r} twice", "leave one of them out", name
            )
    for what, kinds in (("map", ("maps", "event_kinds")), ("config value", ("configs",))):
        owners: dict[str, str] = {}
        for member in joined:
            for key in (key for kind in kinds for key in getattr(member, kind)):
                if key in owners:
                    raise DslError(
                        "E128",
                        f"{owners[key]!r} and {member.name!r} both have a {what} {key!r}",
                        "rename one; or declare it in one of them and use it in both",
                    )
                owners[key] = member.name
