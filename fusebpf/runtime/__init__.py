# SPDX-License-Identifier: MIT
"""Loading, attaching and finding filters in the running kernel."""

from fusebpf.runtime import mounts
from fusebpf.runtime.mounting import Mount, attach, detach
from fusebpf.runtime.mounts import MountStatus, ls
from fusebpf.runtime.replacing import Replacement, replace

__all__ = ["Mount", "MountStatus", "Replacement", "attach", "detach", "ls", "mounts", "replace"]
