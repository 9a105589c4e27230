# SPDX-License-Identifier: MIT
"""Which tests belong to which filter file: test_guard.py beside guard.py, or in tests/ there."""

from __future__ import annotations

from pathlib import Path

PREFIX = "test_"
DIRECTORY = "tests"


def test_file(filters: Path) -> Path | None:
    """The tests of a filter file, or None."""
    name = f"{PREFIX}{filters.name}"
    places = (filters.parent / name, filters.parent / DIRECTORY / name)
    return next((place for place in places if place.is_file()), None)


def filter_file(tests: Path) -> Path | None:
    """The filter file of some tests, or None."""
    name = tests.name.removeprefix(PREFIX)
    places = [tests.parent / name]
    if tests.parent.name == DIRECTORY:
        places.append(tests.parent.parent / name)
    return next((place for place in places if place.is_file() and place != tests), None)
