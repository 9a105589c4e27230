# SPDX-License-Identifier: MIT
"""Descriptors that a method gives away with its answer: the kernel takes the file as it is sent."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from fusebpf.daemon import wire


def close_given(message: wire.Message, result: Any = None) -> None:
    """Close what the answer to a request gave away; also when there was none to send."""
    # One that stands there twice is one descriptor.
    for fd in {e.fd for e in _entries(message, result) if isinstance(e, wire.Backing) and e.close}:
        with contextlib.suppress(OSError, TypeError):  # no descriptor: the reply told so
            os.close(fd)


def _entries(message: wire.Message, result: Any) -> list[Any]:
    if message.name == "lookup_post":
        found = message.args[-1]
    elif message.name == "lookup" and isinstance(result, tuple) and len(result) > 1:
        found = result[1]
    else:
        return []
    return list(found) if isinstance(found, list | tuple) else []
