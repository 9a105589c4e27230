# SPDX-License-Identifier: MIT
"""Names with a dot that are no pictures do not exist; those without one are for directories."""

from fusebpf import Context, FilterSet, Name

filters = FilterSet("media_only")

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".raw")


@filters.visible
def picture(ctx: Context, name: Name) -> bool:
    return "." not in name or name in {".", ".."} or name.lower().endswith(PICTURES)
