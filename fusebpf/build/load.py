# SPDX-License-Identifier: MIT
"""Import a filter file: as fresh code, leaving no trace in this process.

The file is trusted as any program its caller runs: its top level is executed, as the caller.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusebpf.build.errors import BuildError, RejectedFileError, WhichSetError
from fusebpf.frozen import dataclass

if TYPE_CHECKING:
    from fusebpf.compiler import Diagnostic
    from fusebpf.dsl import FilterSet

_serial = itertools.count()
#: sys.modules and sys.path are the process's: threads load one file after another.
_importing = threading.RLock()


@dataclass(frozen=True)
class LoadedFile:
    """An imported filter file: `source` is its text, `namespace` its globals, `sets` its sets."""

    path: Path
    source: str
    namespace: Mapping[str, object]
    sets: tuple[FilterSet, ...]

    def choose(self, name: str | None) -> FilterSet:
        """The set called `name`, or the only one. Raises WhichSetError when that is not one set."""
        names = ", ".join(entry.name for entry in self.sets)
        if name is None:
            # Parts of another set of the file are built with it.
            whole = [entry for entry in self.sets if not entry.part_of] or list(self.sets)
            if len(whole) > 1:
                raise WhichSetError(
                    f"{self.path} has {len(self.sets)} filter sets: {names}",
                    "name one of them: --name NAME",
                )
            return whole[0]
        for entry in self.sets:
            if entry.name == name:
                return entry
        raise WhichSetError(f"{self.path} has no filter set {name!r}", f"it has: {names}")


def load_file(path: str | os.PathLike[str], source: str | None = None) -> LoadedFile:
    """Import the filter file at `path`; with `source`, as if it held that text.

    Raises BuildError (or RejectedFileError) when it is missing, is no text in UTF-8, does not
    parse, raises while it is imported, or makes no FilterSet.
    """
    file = Path(path)
    source = read_source(file) if source is None else source
    if not source.strip():
        raise RejectedFileError(
            f"{file} is empty",
            'begin with: from fusebpf import CONTINUE, FilterSet; filters = FilterSet("name")',
        )
    namespace = _execute(file, source)
    sets = _sets(namespace)
    if not sets:
        raise RejectedFileError(
            f"{file} makes no FilterSet",
            'add one at its top level: filters = FilterSet("name")',
        )
    names = [entry.name for entry in sets]
    for name in names:
        if names.count(name) > 1:
            raise RejectedFileError(
                f"{file} has two filter sets named {name!r}", "give each set a name of its own"
            )
    return LoadedFile(file, source, namespace, sets)


def read_source(file: Path) -> str:
    """The text of a filter file. Raises BuildError."""
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raise BuildError(f"{file} does not exist") from None
    except IsADirectoryError:
        raise BuildError(f"{file} is a directory", "name a Python file in it") from None
    except OSError as error:
        raise BuildError(f"cannot read {file}: {error.strerror}") from None
    if raw.startswith(b"\x7fELF"):
        raise BuildError(f"{file} is an object", "name the Python file that it was compiled from")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RejectedFileError(
            f"{file}:{line}: byte {raw[error.start]:#04x} is not UTF-8",
            "save the file as UTF-8",
        ) from None


def _execute(file: Path, source: str) -> dict[str, Any]:
    try:
        code = compile(source, str(file), "exec", dont_inherit=True)
    except SyntaxError as error:
        from fusebpf.build.raised import syntax_error

        raise _rejected(file, source, syntax_error(str(file), source, error)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "it is nested too deeply"
        raise RejectedFileError(f"{file} does not parse: {reason}") from None
    module = types.ModuleType(f"_fusebpf_filters_{next(_serial)}")
    module.__file__ = str(file)
    with _importing, _imported_as(module, file.resolve().parent):
        try:
            exec(code, module.__dict__)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise _raised(file, source, error) from error
    return module.__dict__


@contextmanager
def _imported_as(module: types.ModuleType, directory: Path) -> Iterator[None]:
    """Make `module` importable and its directory a source of imports, and undo both.

    dataclasses look their module up in sys.modules while a class is made.
    """
    before = set(sys.modules)
    no_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.dont_write_bytecode = no_bytecode
        if str(directory) in sys.path:
            sys.path.remove(str(directory))
        sys.modules.pop(module.__name__, None)
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin and Path(origin).parent == directory:
                del sys.modules[name]


def _sets(namespace: Mapping[str, object]) -> tuple[FilterSet, ...]:
    from fusebpf.dsl import FilterSet

    found: dict[int, FilterSet] = {}
    for value in namespace.values():
        if isinstance(value, FilterSet):
            found.setdefault(id(value), value)
    return tuple(found.values())


def _rejected(file: Path, source: str, *diagnostics: Diagnostic) -> BuildError:
    count = len(diagnostics)
    errors = "1 error" if count == 1 else f"{count} errors"
    return BuildError(f"{file}: {errors}", None, diagnostics, {str(file): source})


def _raised(file: Path, source: str, error: BaseException) -> BuildError:
    """The error of user code, at the user's own line that it came through last."""
    from fusebpf.build.raised import Place, raised, syntax_error
    from fusebpf.compiler import declaration_error
    from fusebpf.dsl.errors import DslError

    if isinstance(error, SyntaxError) and error.filename == str(file):
        return _rejected(file, source, syntax_error(str(file), source, error))
    if isinstance(error, DslError) and error.file == str(file):
        return _rejected(file, source, declaration_error(error, source))
    place = Place(str(file), source, *_innermost(file, source, error))
    return _rejected(file, source, raised(place, error))


def _innermost(file: Path, source: str, error: BaseException) -> tuple[int, int, int]:
    """Line and columns, from 0, of the last frame of `file` that the error came through."""
    lines = source.splitlines()
    place = (1, 0, 0)
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == str(file):
            line = trace.tb_lineno
            text = lines[line - 1] if 1 <= line <= len(lines) else ""
            place = (line, len(text) - len(text.lstrip()), len(text.rstrip()))
            # One entry for each two-byte unit of bytecode; columns count bytes of UTF-8.
            at = next(itertools.islice(code.co_positions(), trace.tb_lasti // 2, None), None)
            if at and at[0] == at[1] == line and at[2] is not None and at[3] is not None:
                raw = text.encode()
                start, end = (len(raw[:col].decode("utf-8", "replace")) for col in at[2:4])
                place = (line, start, end)
        trace = trace.tb_next
    return place
