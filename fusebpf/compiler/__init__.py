# SPDX-License-Identifier: MIT
"""Source and constants → typed IR → C. Pure: no I/O, no root, no clang."""

from fusebpf.compiler.declared import declaration_error
from fusebpf.compiler.diagnostics import Diagnostic, render_all
from fusebpf.compiler.program import CompileResult, HookFunction, compile_set

__all__ = [
    "CompileResult",
    "Diagnostic",
    "HookFunction",
    "compile_set",
    "declaration_error",
    "render_all",
]
