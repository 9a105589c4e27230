# SPDX-License-Identifier: MIT
"""The races' own machinery: what makes a race fail."""

from __future__ import annotations

import errno
import os
from random import Random

import pytest

from tests.vm import racing


def run(*bodies: tuple[str, racing.Body, set[int]]) -> None:
    racers = racing.Racers()
    for name, body, allowed in bodies:
        racers.add(name, body, allowed)
    racers.run(0.05)


def fine(_source: Random) -> None:
    pass


def sometimes(source: Random) -> None:
    if source.random() < 0.5:
        raise OSError(errno.ENOENT, "gone")


def never(_source: Random) -> None:
    raise OSError(errno.ENOENT, "gone")


def wrong(_source: Random) -> None:
    raise AssertionError("the content of another file")


def dies(_source: Random) -> None:
    os._exit(1)


def test_allowed_errors_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    run(("fine", fine, set()), ("sometimes", sometimes, {errno.ENOENT}))
    assert "'ENOENT'" in capsys.readouterr().out


def test_another_error_fails() -> None:
    with pytest.raises(AssertionError, match="sometimes: Traceback"):
        run(("fine", fine, set()), ("sometimes", sometimes, {errno.EIO}))


def test_failed_assertion_fails() -> None:
    with pytest.raises(AssertionError, match="wrong: Traceback"):
        run(("wrong", wrong, set()))


def test_dead_process_fails() -> None:
    with pytest.raises(AssertionError, match="dies: it died"):
        run(("dies", dies, set()))


def test_race_that_was_none_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racing, "PATIENCE", 0.1)
    with pytest.raises(AssertionError, match="never: never got through"):
        run(("fine", fine, set()), ("never", never, {errno.ENOENT}))
