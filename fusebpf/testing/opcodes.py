# SPDX-License-Identifier: MIT
"""Which operation a call of the default filter is about."""

from __future__ import annotations

from fusebpf.abi import OPS
from fusebpf.abi.opcodes import LANGUAGE_NAMES
from fusebpf.abi.protocol import REQUESTS
from fusebpf.errors import UsageError
from fusebpf.spelling import closest

TMPFILE = next(r.opcode for r in REQUESTS.values() if r.opcode_name == "TMPFILE")

#: Have no pair of hooks, and a default filter all the same.
_UNPAIRED = ("IOCTL", "BMAP", "GETLK", "SETLK", "SETLKW", "SYNCFS", "TMPFILE")

#: Opcodes that a default filter sees, by the names of operations and of opcodes.
_OPCODES: dict[str, int] = {
    **{r.opcode_name.lower(): r.opcode for r in REQUESTS.values() if r.opcode_name in _UNPAIRED},
    **{op.opcode_name.lower(): op.opcode for op in OPS.values()},
    **{op.name: op.opcode for op in OPS.values()},
    **{name: OPS[op].opcode for name, op in LANGUAGE_NAMES.items()},
}

# A rename without flags has no name of its own: the language has one operation for both.
_NUMBERS = {*_OPCODES.values(), *(op.opcode for op in OPS.values())}

_HELP = 'say which operation it decides: opcode="mkdir", or a number as of ctx.opcode'


def opcode_of(given: object) -> int:
    """The number of an operation that is given as such, or by name.

    Raises UsageError for what no default filter is asked about.
    """
    if isinstance(given, str):
        if given.lower() in _OPCODES:
            return _OPCODES[given.lower()]
        near = closest(given, _OPCODES)
        raise UsageError(
            f"opcode={given!r} is no operation", f"did you mean {near!r}?" if near else _HELP
        )
    if isinstance(given, int) and given in _NUMBERS:
        return int(given)
    raise UsageError(f"opcode={given!r}: no default filter is asked about that", _HELP)


def no_opcode() -> UsageError:
    """The error of a call of the default filter that does not say what is asked about."""
    return UsageError("a default filter decides an operation, which is not said", _HELP)
