# SPDX-License-Identifier: MIT
"""Only root removes, moves or replaces journals and databases."""

from fusebpf import Context, FilterSet, Name

filters = FilterSet("protect_suffix")


@filters.deletable
def unprotected(ctx: Context, name: Name) -> bool:
    return ctx.uid == 0 or not name.lower().endswith((".journal", ".db", ".sqlite3"))
