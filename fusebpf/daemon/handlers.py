# SPDX-License-Identifier: MIT
"""What a daemon's author derives from: one method per operation and phase."""

from __future__ import annotations

import difflib
import inspect
from typing import ClassVar

from fusebpf.abi.opcodes import OPS
from fusebpf.abi.protocol import INIT_FLAGS, REQUESTS
from fusebpf.daemon.errors import DaemonError
from fusebpf.daemon.notify import Notify

# Served by the server itself.
_INTERNAL = ("init", "interrupt", "batch_forget")

#: Every method that a request can call.
HANDLERS: frozenset[str] = frozenset(
    [request.name for request in REQUESTS.values() if request.name not in _INTERNAL]
    + [f"{op}_{phase}" for op in OPS for phase in ("pre", "post")]
)


class Daemon:
    """Base of daemons. A method is named after the operation that it serves.

    ``lookup(self, call, name)`` serves a plain request; ``lookup_pre`` and ``lookup_post`` are
    asked where a filter says USER_PREFILTER or USER_POSTFILTER and get the hook's arguments.
    ``forget(self, nodeid, nlookup)`` drops so many lookups of a node. Methods may be ``async``, but
    forget. An operation without a method fails (docs/daemon.md). Other public methods are refused,
    so that a misspelt one is not left out silently; helpers begin with an underscore.

    ``max_write`` is the largest write in bytes, if the device has room for it. ``init_flags`` names
    flags of FUSE_INIT to ask for beyond those that this package always uses.
    """

    max_write: ClassVar[int] = 1 << 20
    max_background: ClassVar[int] = 64
    init_flags: ClassVar[tuple[str, ...]] = ()

    #: Set while the daemon is served.
    notify: Notify

    def __init_subclass__(cls) -> None:
        for name, value in vars(cls).items():
            if not name.startswith("_") and callable(value) and name not in HANDLERS:
                raise DaemonError(f"{cls.__name__}.{name} is called by no request", _meant(name))
        # Also that of a mixin, which is no daemon itself.
        if inspect.iscoroutinefunction(getattr(cls, "forget", None)):
            raise DaemonError(f"{cls.__name__}.forget is async", "make it a plain method")
        unknown = set(cls.init_flags) - set(INIT_FLAGS)
        if unknown:
            raise DaemonError(
                f"{cls.__name__}.init_flags: unknown {', '.join(sorted(unknown))}",
                f"known are {', '.join(sorted(INIT_FLAGS))}",
            )


def _meant(name: str) -> str:
    operation, underscore, phase = name.rpartition("_")
    if phase not in ("pre", "post"):
        operation, underscore, phase = name, "", ""
    renamed = {op.opcode_name.lower(): op.name for op in OPS.values()}.get(operation)
    close = [renamed + underscore + phase] if renamed else difflib.get_close_matches(name, HANDLERS)
    if close:
        return f"is {close[0]} meant? a helper begins with an underscore"
    return "begin the name of a helper with an underscore"
