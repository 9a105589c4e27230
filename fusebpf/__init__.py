# SPDX-License-Identifier: MIT
"""File-system filters written in Python, compiled to BPF, enforced by the kernel.

Names are imported on first use, so that the command line starts quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fusebpf.dsl import *  # noqa: F403
    from fusebpf.dsl.generated import *  # noqa: F403  (mypy does not see these in dsl.__all__)
    from fusebpf.runtime import attach as attach
    from fusebpf.runtime import detach as detach
    from fusebpf.runtime import ls as ls
    from fusebpf.runtime import mounts as mounts
    from fusebpf.runtime import replace as replace

# Where a name that is not the language's own lives.
_ELSEWHERE = dict.fromkeys(("attach", "detach", "ls", "mounts", "replace"), "fusebpf.runtime")


if not TYPE_CHECKING:  # which would take every name for known

    def __getattr__(name: str) -> Any:
        from importlib import import_module

        if name == "__all__":
            return import_module("fusebpf.dsl").__all__
        if name.startswith("_"):
            raise AttributeError(name)

        found = getattr(import_module(_ELSEWHERE.get(name, "fusebpf.dsl")), name, None)
        if found is None:
            raise AttributeError(f"module 'fusebpf' has no attribute {name!r}")
        return found
