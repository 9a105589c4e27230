# SPDX-License-Identifier: MIT
"""From a filter file to an object: the file is imported, compiled to C, and clang is run."""

from fusebpf.build.driver import (
    BuiltObject,
    CompiledSet,
    build_compiled,
    build_file,
    build_set,
    compile_file,
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
    "compile_loaded",
    "load_file",
]
