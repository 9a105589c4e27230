# SPDX-License-Identifier: MIT
"""From a filter file to an object: load, compile to C, clang, metadata, cache."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
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
from fusebpf.frozen import dataclass

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

    @property
    def texts(self) -> dict[str, str]:
        """The text of every file that a diagnostic can name."""
        return {source.path: source.text for source in self.result.sources}


@dataclass(frozen=True)
class BuiltObject:
    """An object (`data`), where it is cached, the C it came from, what it says of itself."""

    path: Path
    data: bytes
    c_source: str
    metadata: Metadata
    warnings: tuple[Diagnostic, ...] = ()


def compile_file(
    path: str | os.PathLike[str], set_name: str | None = None, source: str | None = None
) -> CompiledSet:
    """Import a filter file and translate one of its sets to C.

    `set_name` is needed when the file has several; `source` is its text when that is not (yet) in
    the file. Raises BuildError with all diagnostics.
    """
    loaded = load_file(path, source)
    return compile_loaded(loaded.path, loaded.source, loaded.choose(set_name), loaded.namespace)


def compile_loaded(
    path: Path, source: str, fset: FilterSet, namespace: Mapping[str, object]
) -> CompiledSet:
    """Translate a set that is in memory already."""
    from fusebpf.compiler import compile_set

    result = compile_set(str(path), source, fset, namespace, _other_files(str(path), fset))
    compiled = CompiledSet(path, source, result.c_source or "", result, fset)
    if result.c_source is None:
        errors = [item for item in result.diagnostics if item.severity == "error"]
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise BuildError(f"{path}: {count}", None, result.diagnostics, compiled.texts)
    return compiled


def _other_files(path: str, fset: FilterSet) -> dict[str, str]:
    """The texts of the files that joined sets are written in, by path, without the main one."""
    from fusebpf.compiler.units import first_function
    from fusebpf.dsl.parts import members

    found: dict[str, str] = {}
    for member in members(fset):
        function = first_function(member)
        name = path if function is None else function.__code__.co_filename
        if name != path and name not in found:
            found[name] = _text_of(member.name, name)
    return found


def _text_of(set_name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise BuildError(
            f"the source of filter set {set_name!r} is not a file ({path})",
            "write the filters to a .py file: the compiler reads their source",
        ) from None


def build_file(
    path: str | os.PathLike[str], set_name: str | None = None, *, standins: bool = True
) -> BuiltObject:
    """Build the object of a filter file, or take it from the cache.

    Without `standins` it takes half the time, and can only be attached. Raises BuildError: the
    file is rejected, clang is missing, the cache cannot be written.
    """
    return build_compiled(compile_file(path, set_name), standins=standins)


def build_set(fset: FilterSet, *, standins: bool = True) -> BuiltObject:
    """Build a filter set of the running program, from the file its first filter is written in.

    `standins` is as for `build_file`.
    """
    return build_compiled(compile_fset(fset), standins=standins)


def compile_fset(fset: FilterSet) -> CompiledSet:
    """Translate a filter set of the running program to C. Raises BuildError."""
    from fusebpf.compiler.units import first_function
    from fusebpf.dsl.parts import members

    functions = [function for member in members(fset)[::-1] if (function := first_function(member))]
    if not functions:
        raise BuildError(
            f"filter set {fset.name!r} has no filter", "add one, e.g. with @filters.open.pre"
        )
    path = functions[0].__code__.co_filename
    source = _text_of(fset.name, path)
    return compile_loaded(Path(path), source, fset, functions[0].__globals__)


def build_compiled(compiled: CompiledSet, *, standins: bool = True) -> BuiltObject:
    """Compile the C of a set to an object, or take it from the cache.

    `standins` is as for `build_file`.
    """
    defines = () if standins else ("FUSEBPF_OPS_ONLY",)
    clang = find_clang()
    metadata = _metadata(compiled, clang.version)
    c_source = compiled.c_source + c_trailer(metadata)
    parts = [
        c_source,
        # clang copies the text of the lines that #line names into the object.
        *compiled.texts.values(),
        repr((clang.path, clang.version, clang.strip, FLAGS, defines)),
        headers_digest(),
    ]
    key = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    data = cache.lookup(key)
    if data is None:
        with tempfile.TemporaryDirectory(prefix="fusebpf-") as directory:
            for entry in compiled.result.sources:
                copy = Path(directory, entry.name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(entry.text, encoding="utf-8")
            try:
                data = compile_c(clang, c_source, Path(directory), defines)
            except ClangError as error:
                raise _located(compiled, error) from None
        cache.store(key, data)
    return BuiltObject(cache.entry_path(key), data, c_source, metadata, compiled.warnings)


#: Words of clang's back end for BPF, and what they mostly come from.
_CLANG_CAUSES = (
    ("stack", "the filter keeps more in locals and records than the kernel's stack holds"),
    ("out of", "a branch leads too far: the filter is too large, split it"),
    ("built-in function", "a copy of memory became a call of a function that the kernel lacks"),
    ("too many args", "a helper takes more than five arguments"),
)


def _located(compiled: CompiledSet, error: ClangError) -> BuildError:
    """clang's errors as diagnostics where #line leads to the filter file."""
    from fusebpf.compiler import Diagnostic

    sources = {source.name: source for source in compiled.result.sources}
    found = []
    for message in error.messages:
        source = sources.get(message.file)
        if "error" not in message.kind or source is None:
            continue
        lines = source.lines
        text = lines[message.line - 1] if message.line <= len(lines) else ""
        found.append(
            Diagnostic(
                severity="error",
                code="E900",
                message=f"the C compiler refused what this line became: {message.text}",
                file=source.path,
                line=message.line,
                col=len(text) - len(text.lstrip()) + 1,
                end_col=len(text) + 1,
                help=error.help,
                notes=tuple(
                    f"usual cause: {cause}"
                    for words, cause in _CLANG_CAUSES
                    if words in message.text
                ),
            )
        )
    if not found:
        return error
    located = BuildError(error.message, error.help, found, compiled.texts)
    located.output = error.output
    return located


def _type_name(kind: IntType | RecordType) -> str:
    record = getattr(kind, "record", None)
    return str(kind) if record is None else str(record.text)


def _metadata(compiled: CompiledSet, clang_version: str) -> Metadata:
    from fusebpf.abi import ABI_VERSION

    program = compiled.result.ir
    assert program is not None
    texts = "\0".join(compiled.texts.values())
    return Metadata(
        set=compiled.fset.name,
        abi=ABI_VERSION,
        source_file=compiled.path.name,
        source_sha256=hashlib.sha256(texts.encode()).hexdigest(),
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
                for entry in program.events
            ),
            *((drops(len(program.events)),) if program.events else ()),
            *((LOST,) if program.counts_lost else ()),
        ),
        fusebpf=__version__,
        clang=clang_version,
        config=tuple(
            ConfigMeta(entry.name, str(entry.type), entry.default, entry.least, entry.most)
            for entry in program.configs
        ),
    )
