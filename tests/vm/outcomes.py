# SPDX-License-Identifier: MIT
"""What comes of an action, as a word to compare."""

from __future__ import annotations

import errno
from collections.abc import Callable


def failing(action: Callable[[], object]) -> str:
    """The name of the errno that an action fails with; "" when it succeeds."""
    try:
        action()
    except OSError as error:
        return _name(error)
    return ""


def outcome(action: Callable[[], object]) -> str:
    """What docs/guard.md calls a result: an errno, a text that the action returns, or yes."""
    try:
        result = action()
    except OSError as error:
        return _name(error)
    return result if isinstance(result, str) else "yes"


def _name(error: OSError) -> str:
    return errno.errorcode[error.errno or 0]
