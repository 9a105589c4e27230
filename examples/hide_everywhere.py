# SPDX-License-Identifier: MIT
"""Key material does not exist: one predicate for lookups, listings and every change of a name."""

from fusebpf import Context, FilterSet, Name

filters = FilterSet("hide_everywhere")

PATTERNS = ("*.pem", "*.key", "*.p12", "id_[der]*", ".env*")


@filters.visible
def harmless(ctx: Context, name: Name) -> bool:
    return name.endswith(".pub") or not name.glob(PATTERNS)
