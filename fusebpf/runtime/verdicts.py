# SPDX-License-Identifier: MIT
"""What the kernel's verifier said, in an author's words."""

from __future__ import annotations

import re
from dataclasses import replace

from fusebpf.frozen import dataclass
from fusebpf.runtime import reports

#: What ends a log after the reason: statistics, in the words of several kernels.
_STATISTICS = ("processed ", "verification time", "stack depth", "max_", "-- ", "mark_read")
#: Of kernel/bpf/verifier.c; it stands behind the instruction, in its line.
_GAVE_UP = re.compile(r"BPF program is too large\. Processed \d+ insn")
_INSTRUCTION = re.compile(r"^\s*(\d+): (?:frame\d+: )?\([0-9a-f]{2}\) ")


@dataclass(frozen=True)
class Refusal:
    """Why a program was refused: the verifier's line, the usual cause, and what to do."""

    reason: str
    cause: str
    help: str
    #: Number of the instruction that was looked at last, or None.
    instruction: int | None


#: A pattern of the reason, the usual cause, what to do. The first that fits counts.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"too large|too many|complexity|infinite loop|back-edge|loop.*bound",
        "the verifier followed so many paths that it gave up, or saw a loop without an end",
        "make the loops smaller, split long conditions over helpers, or over several hooks",
    ),
    (
        r"_or_null|possibly NULL|NULL pointer",
        "a value of a map is used that may be missing",
        "test what get() gives with `is not None`",
    ),
    (
        r"outside of the (allowed )?memory range|invalid access to map value|unbounded memory|"
        r"min value is|max value is|var_off",
        "a place inside a map, a name or the stack depends on a number that may be too large",
        "bound it: min(n, limit), n % limit, or `if n < limit` around",
    ),
    (
        r"stack|combined",
        "the filter and what it calls keep more on the stack than there is, or reach outside of it",
        "use fewer locals and records, or a map",
    ),
    (
        r"!read_ok|uninit|not initialized",
        "a value is read on a path that never set it",
        "assign it on every path before this line",
    ),
    (
        r"invalid mem access|pointer arithmetic|dereference|invalid bpf_context access",
        "a number is used as an address, or an address in a way that the kernel does not know",
        "only arguments, names and maps can be looked into",
    ),
    (
        r"unknown func|invalid func|helper|kfunc|not allowed|cannot use",
        "the kernel does not have this function, or not for this kind of program",
        "run a newer kernel, or the fuse-bpf module of this version",
    ),
    (
        r"reference|leak|unreleased",
        "something that was taken is not given back on every path",
        "leave the block in one way",
    ),
    (
        r"return|R0 ",
        "the verdict may be outside of what a filter can return",
        "return a Verdict, or refuse(n)",
    ),
    (
        r"unreachable|jump out of range|fall through|last insn",
        "code is left over that nothing can reach",
        "remove what stands behind the last return",
    ),
)


#: By the kind of a report, where the words of its log tell nothing.
_KINDS = {
    "Register Type Safety": "invalid mem access",
    "Memory Safety": "invalid access to map value",
    "Resource Lifetime Safety": "reference",
    "Call Type Safety": "not allowed",
    "Execution Context Safety": "not allowed",
    "Program Structure": "jump out of range",
    "Policy": "not allowed",
}


def read(log: str) -> Refusal:
    """The refusal that a log ends with, or that the report behind it tells of."""
    report = reports.find(log)
    if report is None:
        reason, instruction = _last(log)
        return _explained(reason, instruction, reason)
    terse, instruction = _last(report.log)
    if report.instruction is not None:
        instruction = report.instruction
    reason = ": ".join(filter(None, (report.problem or report.kind, report.reason)))
    words = (terse, reason, _KINDS.get(report.kind, ""))
    found = _explained(reason, instruction, *words)
    if not found.cause and report.suggestion:
        return replace(found, help=report.suggestion)
    return found


def _last(log: str) -> tuple[str, int | None]:
    """The last line that is no statistics and no state, and the instruction it is about."""
    reason, instruction = "", None
    for line in log.splitlines():
        text = line.strip()
        if found := _INSTRUCTION.match(line):
            instruction = int(found[1])
            if gave_up := _GAVE_UP.search(text):
                reason = gave_up[0]
        elif text and not text.startswith((";", *_STATISTICS)) and not _register_state(text):
            reason = text
    if named := re.search(r"\binsn (\d+)$", reason):
        instruction = int(named[1])
    return reason, instruction


def _explained(reason: str, instruction: int | None, *words: str) -> Refusal:
    """A refusal with the cause that the first telling of some words leads to."""
    for text in words:
        for pattern, cause, help in _CAUSES:
            if re.search(pattern, text, re.IGNORECASE):
                return Refusal(reason, cause, help, instruction)
    help = "report it with this file and what --verbose shows"
    return Refusal(reason, "", help, instruction)


#: Lines that tell the state of registers: ``R1=ctx() R10=fp0``, ``caller:``.
_STATE = re.compile(r"(?:\d+: )?(?:frame\d+: )?R\d+(?:_\w+)?=|(?:caller|callee):$|from \d+ to")


def _register_state(text: str) -> bool:
    return _STATE.match(text) is not None
