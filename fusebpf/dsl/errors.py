# SPDX-License-Identifier: MIT
"""Mistakes in declarations, found while the author's file is imported, with their line."""

from __future__ import annotations

import sys
from pathlib import Path

from fusebpf.errors import EXIT_REJECTED, FusebpfError

#: Code of ours that runs for an author's declaration.
_OURS = tuple(str(Path(__file__).parents[1] / name) for name in ("dsl", "filters"))


class DslError(FusebpfError):
    """A declaration that cannot be meant.

    ``file`` and ``line`` are where the author's code made it; ``word`` is the part of that line
    at fault, when it is one word. ``code`` is the number of the diagnostic. ``instead`` is text of
    the declaration and what mends it, ``needs`` the (module, name) that this uses.
    """

    exit_code = EXIT_REJECTED

    def __init__(
        self,
        code: str,
        message: str,
        help: str | None = None,
        word: str = "",
        instead: tuple[str, str] | None = None,
        needs: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(message, help)
        self.code = code
        self.word = word
        self.instead = instead
        self.needs = needs
        self.file, self.line = caller()


class UnknownHookError(DslError, AttributeError):
    """An attribute of a FilterSet or of its hooks that does not exist."""


def caller() -> tuple[str, int]:
    """File and line of the innermost frame outside of declarations: the author's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
