# SPDX-License-Identifier: MIT
"""Which node an answer gives to the kernel: that is one lookup of it, until it is forgotten."""

from __future__ import annotations

from typing import Any

from fusebpf.abi.structs import STRUCTS
from fusebpf.daemon import wire
from fusebpf.dsl.values import Verdict

_ENTRY = STRUCTS["fuse_entry_out"]


def asked_with(message: wire.Message) -> int:
    """The node that a request had already: a program's, which the daemon has not counted."""
    return _of_filter(message)


def given(message: wire.Message, result: Any, before: int) -> int:
    """The node that a method's result gives; 0 for none, as of a refusal.

    ``before`` is what the request was asked with.
    """
    number = result.value if isinstance(result, Verdict) else result
    if isinstance(number, int) and number < 0:
        return 0
    if message.op is not None:
        node = _of_filter(message)
        return 0 if node == before else node
    assert message.request is not None
    outs = message.request.outs
    if not outs or outs[0].struct is not _ENTRY:
        return 0
    found = result[0] if isinstance(result, tuple) and result else result
    return _node(found)


def _of_filter(message: wire.Message) -> int:
    if message.op is None or message.call.phase != "post":
        return 0
    kinds = [arg.struct for arg in message.op.post]
    return _node(message.args[kinds.index(_ENTRY)]) if _ENTRY in kinds else 0


def _node(entry: object) -> int:
    node = getattr(entry, "nodeid", 0)
    return node if isinstance(node, int) else 0
