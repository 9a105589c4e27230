# SPDX-License-Identifier: MIT
"""What can go wrong between a filter file and its object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fusebpf.errors import EXIT_FAILURE, EXIT_REJECTED, EXIT_USAGE, FusebpfError

if TYPE_CHECKING:
    from fusebpf.compiler import Diagnostic


class BuildError(FusebpfError):
    """A filter file cannot become an object.

    `diagnostics` are the located errors of the file, in its order; empty when the cause is
    elsewhere (no clang, an unreadable file). `sources` holds the text of each file they name.
    The exit code is 3 when the file was rejected, else 1.
    """

    def __init__(
        self,
        message: str,
        help: str | None = None,
        diagnostics: Sequence[Diagnostic] = (),
        sources: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, help)
        self.diagnostics = tuple(diagnostics)
        self.sources = dict(sources or {})
        #: All that clang said, where it is clang that refused.
        self.output = ""
        self.exit_code = EXIT_REJECTED if self.diagnostics else EXIT_FAILURE

    def render(self) -> str:
        """The message, and before it every diagnostic in its text form."""
        rendered = [item.render(self.sources.get(item.file, "")) for item in self.diagnostics]
        return "\n\n".join([*rendered, str(self)])


class WhichSetError(BuildError):
    """Of the sets of a file none is named and there are several, or one that is not there."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message, help)
        self.exit_code = EXIT_USAGE


class RejectedFileError(BuildError):
    """A filter file that cannot be used at all: empty, not UTF-8, without a filter set.

    It has no diagnostic of its own; ``E006`` is its code where one is needed.
    """

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message, help)
        self.exit_code = EXIT_REJECTED
