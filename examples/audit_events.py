# SPDX-License-Identifier: MIT
"""Who opens, makes, moves and removes what: read with `mount.events["audit"].follow()`."""

from fusebpf.filters import audit

filters = audit()
