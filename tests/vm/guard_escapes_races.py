# SPDX-License-Identifier: MIT
"""Attempts to get around `fusebpf guard run` by being faster than it."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.vm.guard_escapes import Place, attempt, read, renamed

RACE_SECONDS = 1.0


def raced(turn: Callable[[], object], look: Callable[[], bytes]) -> str:
    """Four threads: two that turn it over and over, two that look. What they read, if ever."""
    end = time.monotonic() + RACE_SECONDS
    found: set[bytes] = set()

    def turning() -> None:
        while time.monotonic() < end:
            with suppress(OSError):
                turn()

    def looking() -> None:
        while time.monotonic() < end:
            with suppress(OSError):
                found.add(look())

    threads = [threading.Thread(target=t) for t in (turning, looking, turning, looking)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return " ".join(sorted(text.decode("ascii", "replace").strip() for text in found))


def swapped(names: tuple[str, str], link: str) -> None:
    for name in names:
        os.symlink(name, f"{link}{threading.get_ident()}")
        os.rename(f"{link}{threading.get_ident()}", link)


@attempt("plain", "plain")
def race_of_symlinks(place: Place) -> list[str]:
    return [
        raced(lambda: swapped((".env", "plain"), "link"), lambda: read("link")),
        raced(lambda: swapped(("denied", "plain"), "link"), lambda: read("link")),
    ]


def moved(names: tuple[str, ...]) -> None:
    for old, new in itertools.pairwise(names):
        with suppress(OSError):
            os.rename(old, new)


@attempt("")
def race_of_directories(place: Place) -> list[str]:
    """A directory that may be renamed, and one whose file is hidden by its path."""
    turn = ("sub", "a", "vault", "b", "a", "sub", "vault")

    def look() -> bytes:
        for name in ("sub", "a", "b"):
            for secret in ("key", ".env", "denied"):
                with suppress(OSError):
                    return read(f"{name}/{secret}")
        raise FileNotFoundError

    return [raced(lambda: moved(turn), look)]


@attempt("plain")
def race_of_names(place: Place) -> list[str]:
    """A visible file moved over hidden ones and back, exchanged, and linked."""

    def turn() -> None:
        moved(("plain", ".env", "plain", "denied", "plain"))
        for name in (".env", "denied", "sub/.env"):
            with suppress(OSError):
                renamed("plain", name, 2)
            with suppress(OSError):
                os.link(name, "linked")

    def look() -> bytes:
        with suppress(OSError):
            return read("linked")
        return read("plain")

    return [raced(turn, look)]
