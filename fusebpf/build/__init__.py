# SPDX-License-Identifier: MIT
"""From a filter file to an object: the file is imported, compiled to C, and clang is run.

Names are imported on first use: a finished object is attached without any of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusebpf.build.driver import (
        BuiltObject,
        CompiledSet,
        build_compiled,
        build_file,
        build_set,
        compile_file,
        compile_fset,
        compile_loaded,
    )
    from fusebpf.build.errors import BuildError, RejectedFileError
    from fusebpf.build.load import LoadedFile, load_file

__all__ = [
    "BuildError",
    "BuiltObject",
    "CompiledSet",
    "LoadedFile",
    "RejectedFileError",
    "build_compiled",
    "build_file",
    "build_set",
    "compile_file",
    "compile_fset",
    "compile_loaded",
    "load_file",
]

_MODULES = {
    "BuildError": "errors",
    "RejectedFileError": "errors",
    "LoadedFile": "load",
    "load_file": "load",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fusebpf.build' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fusebpf.build.{_MODULES.get(name, 'driver')}"), name)
