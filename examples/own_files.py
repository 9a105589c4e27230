# SPDX-License-Identifier: MIT
"""Each user sees their own entries, and those without an owner; root sees all.

Who owns a name is set while the mount is in use: `mount.maps["owners"][(NAME,)] = UID`.
"""

from dataclasses import dataclass

from fusebpf import Context, FilterSet, Name
from fusebpf.types import bytes64, u32

filters = FilterSet("own_files")


@dataclass
class Entry:
    name: bytes64


owners = filters.hash("owners", key=Entry, value=u32, max_entries=1024)


@filters.visible
def own(ctx: Context, name: Name) -> bool:
    return ctx.uid == 0 or owners.get(Entry(name=name), ctx.uid) == ctx.uid
