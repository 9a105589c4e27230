# SPDX-License-Identifier: MIT
"""``pytest tests/golden --update`` writes the expected texts anew; read the difference then."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write expected texts anew")


class Golden:
    """Compares a text with a file."""

    def __init__(self, update: bool) -> None:
        self.update = update

    def check(self, path: Path, text: str) -> None:
        """Fail when the file's content is not ``text``; with --update, write it."""
        if self.update:
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run pytest tests/golden --update"
        assert text == path.read_text(encoding="utf-8")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(bool(request.config.getoption("--update")))
