# SPDX-License-Identifier: MIT
"""A project as a helper program may see it: secrets hidden, history listed but closed, writing for
its owner alone, and every operation on record."""

from fusebpf import FilterSet
from fusebpf.filters import audit, deny, hide, read_only

filters = FilterSet(
    "workspace",
    hide(".env*", "*.pem", "*.key", "id_rsa", "id_dsa", "id_ecdsa*", "id_ed25519*"),
    deny(".git", ".hg"),
    read_only(writers=[1000]),
    audit(),
)
