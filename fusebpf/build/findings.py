# SPDX-License-Identifier: MIT
"""Everything that is found in a filter file, and the file mended by the edits that this gave."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from fusebpf.build.driver import CompiledSet, compile_loaded
from fusebpf.build.errors import BuildError, RejectedFileError, WhichSetError
from fusebpf.build.load import load_file
from fusebpf.compiler import Diagnostic
from fusebpf.compiler.edits import Fix, apply
from fusebpf.frozen import dataclass

#: A mistake can hide others; each round shows those that the last one uncovered.
_ROUNDS = 100


@dataclass(frozen=True)
class Findings:
    """What was found, the texts of the files that it names, and the sets that compiled."""

    diagnostics: tuple[Diagnostic, ...]
    texts: dict[str, str]
    compiled: tuple[CompiledSet, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether an error is among them."""
        return any(found.severity == "error" for found in self.diagnostics)


def findings(path: Path, source: str, set_name: str | None = None) -> Findings:
    """What the compiler says of a text that is, or will be, the file at `path`.

    All of its sets are compiled that are no parts of others, unless one is named.
    """
    try:
        loaded = load_file(path, source)
    except RejectedFileError as error:
        found = Diagnostic("error", "E006", error.message, str(path), 1, 1, 2, error.help)
        return Findings((found,), {str(path): source})
    except BuildError as error:
        return Findings(error.diagnostics, dict(error.sources))
    chosen = [s for s in loaded.sets if not s.part_of] or list(loaded.sets)
    if set_name is not None:
        chosen = [loaded.choose(set_name)]
    diagnostics: list[Diagnostic] = []
    texts = {str(path): source}
    compiled: list[CompiledSet] = []
    for fset in chosen:
        try:
            made = compile_loaded(loaded.path, source, fset, loaded.namespace)
        except BuildError as error:
            if not error.diagnostics:
                raise
            diagnostics += [d for d in error.diagnostics if d not in diagnostics]
            texts |= error.sources
            continue
        compiled.append(made)
        diagnostics += [d for d in made.warnings if d not in diagnostics]
        texts |= made.texts
    return Findings(tuple(diagnostics), texts, tuple(compiled))


def only_set(path: Path, found: Findings) -> CompiledSet:
    """The one set that compiled. Raises WhichSetError when there are several to choose from."""
    if len(found.compiled) > 1:
        names = ", ".join(made.fset.name for made in found.compiled)
        raise WhichSetError(
            f"{path} has {len(found.compiled)} filter sets: {names}",
            "name one of them: --name NAME",
        )
    return found.compiled[0]


@dataclass(frozen=True)
class Mended:
    """A text after its fixes: `applied` are they and what they mend, `left` is still found."""

    text: str
    applied: tuple[tuple[Diagnostic, Fix], ...]
    left: Findings


def mend(path: Path, source: str, set_name: str | None = None, unsafe: bool = False) -> Mended:
    """Apply the fixes of a file until there are none; the `unsafe` ones, too, if asked to.

    A fix after which the text does not parse, or that mends nothing, is not applied.
    """
    applied: list[tuple[Diagnostic, Fix]] = []
    seen = {source}
    found = findings(path, source, set_name)
    for _ in range(_ROUNDS):
        offered = list(_offered(found, path, unsafe))
        text, used = _next(source, [fix for _d, fix in offered], seen)
        if not used:
            break
        applied += [(d, fix) for d, fix in offered if any(fix is u for u in used)]
        source = text
        seen.add(text)
        found = findings(path, source, set_name)
    return Mended(source, tuple(applied), found)


def _offered(found: Findings, path: Path, unsafe: bool) -> Iterator[tuple[Diagnostic, Fix]]:
    for entry in found.diagnostics:
        if entry.file == str(path) and entry.fixes:
            fix = entry.fixes[0]
            if unsafe or fix.applicability == "safe":
                yield entry, fix


def _next(source: str, fixes: list[Fix], seen: set[str]) -> tuple[str, list[Fix]]:
    """The text with all fixes that go together; with a single one where all do not parse."""
    for group in (fixes, *([fix] for fix in fixes)):
        text, used = apply(source, group)
        if used and text not in seen and (_parses(text) or not _parses(source)):
            return text, used
    return source, []


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
