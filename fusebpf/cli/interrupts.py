# SPDX-License-Identifier: MIT
"""Being told to end, by Ctrl-C or another signal, where a command prints what comes."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_NOTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_SECONDS = 0.1


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Let a signal wait for what is taken: the list has it then; a second one does not wait.

    Ctrl-C is the usual end. SIGTERM and SIGHUP end this process when the block has ended, as they
    do without it. One that the caller has us ignore (nohup) stays so, but for Ctrl-C.
    """
    seen: list[int] = []

    def note(number: int, _frame: object) -> None:
        if not seen:
            seen.append(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            _end_by(number)

    before = {
        number: signal.signal(number, note)
        for number in _NOTED
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if seen and seen[0] != signal.SIGINT:
        sys.stdout.flush()
        _end_by(seen[0])


def _end_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def pause(seen: Sequence[int], seconds: float | None) -> None:
    """Sleep for `seconds` (None: for ever), or until a signal is noted."""
    end = None if seconds is None else time.monotonic() + seconds
    while not seen:
        left = _LOOK_SECONDS if end is None else end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _LOOK_SECONDS))
