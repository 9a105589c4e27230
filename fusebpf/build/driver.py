# SPDX-License-Identifier: MIT
"""From a filter file to an object: load, compile to C, clang, metadata, cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusebpf import __version__
from fusebpf.build import cache
from fusebpf.build.clang import FLAGS, ClangError, compile_c, find_clang, headers_digest
from fusebpf.build.errors import BuildError
from fusebpf.build.load import load_file
from fusebpf.build.metadata import (
    EVENTS,
    LOST,
    ConfigMeta,
    HookMeta,
    MapMeta,
    Metadata,
    c_trailer,
    drops,
)

if TYPE_CHECKING:
    from fusebpf.compiler import CompileResult, Diagnostic
    from fusebpf.compiler.types import IntType, RecordType
    from fusebpf.dsl import FilterSet


@dataclass(frozen=True)
class CompiledSet:
    """A set as C. `warnings` are diagnostics that do not stop it."""

    path: Path
    source: str
    c_source: str
    result: CompileResult
    fset: FilterSet

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """Diagnostics that are no errors."""
        return tuple(self.result.diagnostics)


@dataclass(frozen=True)
class BuiltObject:
    """An object (`data`), where it is cached, the C it came from, what it says of itself."""

    path: Path
    data: bytes
    c_source: str
    metadata: Metadata
    warnings: tuple[Diagnostic, ...] = ()


def compile_file(path: str | os.PathLike[str], set_name: str | None = None) -> CompiledSet:
    """Import a filter file and translate one of its sets to C.

    `set_name` is needed when the file has several. Raises BuildError with all diagnostics.
    """
    loaded = load_file(path)
    return compile_loaded(loaded.path, loaded.source, loaded.choose(set_name), loaded.namespace)


def compile_loaded(
    path: Path, source: str, fset: FilterSet, namespace: Mapping[str, object]
) -> CompiledSet:
    """Translate a set that is in memory already."""
    from fusebpf.compiler import compile_set

    result = compile_set(str(path), source, fset, namespace)
    if result.c_source is None:
        errors = [item for item in result.diagnostics if item.severity == "error"]
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise BuildError(f"{path}: {count}", None, result.diagnostics, {str(path): source})
    return CompiledSet(path, source, result.c_source, result, fset)


def build_file(path: str | os.PathLike[str], set_name: str | None = None) -> BuiltObject:
    """Build the object of a filter file, or take it from the cache.

    Raises BuildError: the file is rejected, clang is missing, the cache cannot be written.
    """
    return build_compiled(compile_file(path, set_name))


def build_set(fset: FilterSet) -> BuiltObject:
    """Build a filter set of the running program, from the file its first filter is written in."""
    function = next((entry.function for entry in fset.filters), None)
    if function is None:
        raise BuildError(
            f"filter set {fset.name!r} has no filter", "add one, e.g. with @filters.open.pre"
        )
    path = Path(function.__code__.co_filename)
    try:
        source = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise BuildError(
            f"the source of filter set {fset.name!r} is not a file ({path})",
            "write the filters to a .py file: the compiler reads their source",
        ) from None
    return build_compiled(compile_loaded(path, source, fset, function.__globals__))


def build_compiled(compiled: CompiledSet) -> BuiltObject:
    """Compile the C of a set to an object, or take it from the cache."""
    clang = find_clang()
    metadata = _metadata(compiled, clang.version)
    c_source = compiled.c_source + c_trailer(metadata)
    parts = [
        c_source,
        # clang copies the text of the lines that #line names into the object.
        compiled.source,
        repr((clang.path, clang.version, clang.strip, FLAGS)),
        headers_digest(),
    ]
    key = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    data = cache.lookup(key)
    if data is None:
        try:
            data = compile_c(clang, c_source, compiled.path.resolve().parent)
        except ClangError as error:
            raise _located(compiled, error) from None
        cache.store(key, data)
    return BuiltObject(cache.entry_path(key), data, c_source, metadata, compiled.warnings)


def _located(compiled: CompiledSet, error: ClangError) -> BuildError:
    """clang's errors as diagnostics where #line leads to the filter file."""
    from fusebpf.compiler import Diagnostic

    lines = compiled.source.splitlines()
    found = []
    for message in error.messages:
        if "error" not in message.kind or message.file != compiled.path.name:
            continue
        text = lines[message.line - 1] if message.line <= len(lines) else ""
        found.append(
            Diagnostic(
                severity="error",
                code="E900",
                message=f"the C compiler refused what this line became: {message.text}",
                file=str(compiled.path),
                line=message.line,
                col=len(text) - len(text.lstrip()) + 1,
                end_col=len(text) + 1,
                help=error.help,
                notes=(),
            )
        )
    if not found:
        return error
    return BuildError(error.message, error.help, found, {str(compiled.path): compiled.source})


def _type_name(kind: IntType | RecordType) -> str:
    record = getattr(kind, "record", None)
    return str(kind) if record is None else str(record.text)


def _metadata(compiled: CompiledSet, clang_version: str) -> Metadata:
    from fusebpf.abi import ABI_VERSION

    program = compiled.result.ir
    return Metadata(
        set=compiled.fset.name,
        abi=ABI_VERSION,
        source_file=compiled.path.name,
        source_sha256=hashlib.sha256(compiled.source.encode()).hexdigest(),
        hooks=tuple(
            HookMeta(entry.hook, entry.function, entry.line, entry.c_name)
            for entry in compiled.result.hooks
        ),
        maps=(
            *(
                MapMeta(
                    entry.name,
                    entry.kind,
                    _type_name(entry.key),
                    _type_name(entry.value),
                    entry.max_entries,
                )
                for entry in compiled.result.maps
            ),
            *(
                MapMeta(entry.name, EVENTS, "", entry.record.text, entry.size)
                for entry in compiled.fset.event_kinds.values()
            ),
            *((drops(len(compiled.fset.event_kinds)),) if compiled.fset.event_kinds else ()),
            *((LOST,) if program is not None and program.counts_lost else ()),
        ),
        fusebpf=__version__,
        clang=clang_version,
        config=tuple(
            ConfigMeta(entry.name, entry.kind, int(entry), entry.least, entry.most)
            for entry in compiled.fset.configs.values()
        ),
    )
