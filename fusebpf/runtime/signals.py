# SPDX-License-Identifier: MIT
"""Hold Ctrl-C back where it must not arrive."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_HELD = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back; they arrive when the block ends, as its exception.

    In other threads than the main one nothing is held back: Python runs no handlers there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers = {number: signal.getsignal(number) for number in _HELD}
    came: list[int] = []
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        # The kernel gives another thread, if there is one, what is blocked here; Python runs the
        # handler here all the same.
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, lambda number, _frame: came.append(number))
        yield
    finally:
        try:
            for number, handler in handlers.items():
                if callable(handler):
                    signal.signal(number, handler)
            for each in came:
                signal.raise_signal(each)  # of this thread: it waits for the mask
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
