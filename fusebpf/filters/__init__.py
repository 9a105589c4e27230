# SPDX-License-Identifier: MIT
"""Ready parts: functions that make filter sets, alone or joined with others.

    from fusebpf import FilterSet
    from fusebpf.filters import audit, hide, read_only

    filters = FilterSet("guard", hide("*.pem", ".env"), read_only(writers=[0]), audit())

Each is an ordinary filter file with a function around it; read it, and write your own. ``name`` is
the name of the set and begins those of its maps and config values: give another one to use a part
twice.
"""

from fusebpf.filters.audit import Audited, audit
from fusebpf.filters.fault_injection import fault_injection
from fusebpf.filters.naming import deny, hide
from fusebpf.filters.patterns import hide_listed, transitions
from fusebpf.filters.rate_limit import rate_limit
from fusebpf.filters.read_only import read_only
from fusebpf.filters.uid_map import uid_map

__all__ = [
    "Audited",
    "audit",
    "deny",
    "fault_injection",
    "hide",
    "hide_listed",
    "rate_limit",
    "read_only",
    "transitions",
    "uid_map",
]
