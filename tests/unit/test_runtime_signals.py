# SPDX-License-Identifier: MIT
"""Ctrl-C where it must not arrive."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from fusebpf.runtime.signals import uninterrupted


@pytest.fixture(autouse=True)
def _usual_handlers() -> Iterator[None]:
    """Whoever starts the tests in the background may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("threads", [0, 1])
def test_an_interrupt_comes_at_the_end(threads: int) -> None:
    """Also where another thread is there to take the signal."""
    stop = threading.Event()
    others = [threading.Thread(target=stop.wait) for _ in range(threads)]
    for other in others:
        other.start()
    done = False
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
            with uninterrupted():
                with uninterrupted():
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.05)
                time.sleep(0.05)
                done = True
    finally:
        stop.set()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


def test_an_interrupt_just_before_leaves_nothing_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    block = signal.pthread_sigmask

    def late(how: int, mask: object) -> object:
        """As Python does: its handlers run when the mask was changed."""
        found = block(how, mask)  # type: ignore[arg-type]
        if how == signal.SIG_BLOCK and mask:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(signal, "pthread_sigmask", late)
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        pass
    monkeypatch.undo()
    assert not block(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}
