# SPDX-License-Identifier: MIT
"""What `fusebpf inspect` shows of an object, as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fusebpf.abi import ABI_VERSION, HOOKS
from fusebpf.abi.opcodes import COVERED
from fusebpf.objfile import ObjectFile, ProgramEntry
from fusebpf.objfile.lines import INSTRUCTION_BYTES

KERNEL_SERIES = ("6.12", "7.3")
"""Series of Linux that fuse-bpf, and with it every object, is for (kernel/README.md)."""

_STRUCT_OPS = "struct_ops"


def summary(found: ObjectFile, lines: bool = False) -> dict[str, Any]:
    """All that the file tells of itself; with `lines` the source of each instruction, too."""
    told = asdict(found.metadata)
    return {
        "path": str(found.path),
        **told,
        "programs": [_program(found, entry, lines) for entry in found.programs],
        "btf": {
            "bytes": next((entry.size for entry in found.sections if entry.name == ".BTF"), 0),
            "types": found.btf_types,
        },
        "kfuncs": sorted({name for entry in _attached(found) for name in entry.kfuncs}),
        "kernel": _kernel(found),
    }


def _attached(found: ObjectFile) -> list[ProgramEntry]:
    """Programs that `attach` loads; the others are stand-ins for tests."""
    return [entry for entry in found.programs if entry.section.startswith(_STRUCT_OPS)]


def _program(found: ObjectFile, entry: ProgramEntry, lines: bool) -> dict[str, Any]:
    form, _, hook = entry.section.partition("/")
    if form != _STRUCT_OPS:
        form, hook = "stand-in", _hook_of(found, entry)
    shown: dict[str, Any] = {
        "name": entry.name,
        "form": form,
        "hook": hook,
        "bytes": entry.size,
        "instructions": entry.size // INSTRUCTION_BYTES,
        "kfuncs": list(entry.kfuncs),
    }
    if lines:
        shown["lines"] = [asdict(line) for line in entry.lines]
    return shown


def _hook_of(found: ObjectFile, entry: ProgramEntry) -> str:
    name = entry.name.removesuffix("_standin")
    return next((hook.hook for hook in found.metadata.hooks if hook.program == name), "")


def _kernel(found: ObjectFile) -> dict[str, Any]:
    """What it needs of a kernel; `module` is False where the module lacks a hook of it."""
    hooks = {entry.hook for entry in found.metadata.hooks}
    return {
        "series": list(KERNEL_SERIES),
        "abi": found.metadata.abi,
        "abi_fits": found.metadata.abi == ABI_VERSION,
        "module": all(hook in HOOKS and _in_module(hook, hooks) for hook in hooks),
    }


def _in_module(hook: str, hooks: set[str]) -> bool:
    if HOOKS[hook].form_a:
        return True
    op, _, phase = hook.rpartition("_")
    return f"{COVERED.get(op)}_{phase}" in hooks
