# SPDX-License-Identifier: MIT
"""The opcode table and what is derived from it. Imports nothing but the standard library."""

from fusebpf.abi.model import Arg, ArgKind, Field, Hook, Op, Phase, Struct
from fusebpf.abi.opcodes import (
    DEFAULT_FILTER,
    FUSE_OPCODE_FILTER,
    FUSE_POSTFILTER,
    FUSE_PREFILTER,
    HOOKS,
    NAME_SIZE,
    OPS,
    SCRATCH_SIZE,
    VERDICTS,
)
from fusebpf.abi.structs import STRUCTS

#: Version of the contract between objects, the module and this package.
ABI_VERSION = 1

__all__ = [
    "ABI_VERSION",
    "DEFAULT_FILTER",
    "FUSE_OPCODE_FILTER",
    "FUSE_POSTFILTER",
    "FUSE_PREFILTER",
    "HOOKS",
    "NAME_SIZE",
    "OPS",
    "SCRATCH_SIZE",
    "STRUCTS",
    "VERDICTS",
    "Arg",
    "ArgKind",
    "Field",
    "Hook",
    "Op",
    "Phase",
    "Struct",
]
