# SPDX-License-Identifier: MIT
"""Loading, attaching and finding filters in the running kernel.

Names are imported on first use: to attach needs little of what looks at mounts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusebpf.runtime import mounts
    from fusebpf.runtime.mounting import Mount, attach, detach
    from fusebpf.runtime.mounts import MountStatus, ls
    from fusebpf.runtime.replacing import Replacement, replace

__all__ = ["Mount", "MountStatus", "Replacement", "attach", "detach", "ls", "mounts", "replace"]

_MODULES = {
    "MountStatus": "mounts",
    "ls": "mounts",
    "Replacement": "replacing",
    "replace": "replacing",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fusebpf.runtime' has no attribute {name!r}")
    from importlib import import_module

    if name == "mounts":
        return import_module("fusebpf.runtime.mounts")
    return getattr(import_module(f"fusebpf.runtime.{_MODULES.get(name, 'mounting')}"), name)
