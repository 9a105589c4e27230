# SPDX-License-Identifier: MIT
"""The report that the verifier of Linux 7.3 and newer writes behind its log.

It begins with ``Verification failed: KIND: PROBLEM``. Titles (``Reason:``, ``At:``,
``Causal path:``, ``Suggestion:``) stand at the margin, what belongs to them is indented. Kernels
before have the log alone (verdicts.py).
"""

from __future__ import annotations

import re

from fusebpf.frozen import dataclass

_HEAD = re.compile(r"^Verification failed: ([^:\n]+)(?:: (.*))?$", re.MULTILINE)
_TITLE = re.compile(r"([A-Z][a-z]+(?: [a-z]+)*):$")
#: The instruction that failed, among its neighbours; or alone, where there is no source.
_MARKED = re.compile(r"^ *>>> +(\d+) \| ", re.MULTILINE)
_BARE = re.compile(r"^  insn (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Report:
    """Its kind ("Memory Safety"), the problem, the reason and what the kernel suggests: C words."""

    #: What stands before it.
    log: str
    kind: str
    problem: str
    reason: str
    suggestion: str
    instruction: int | None


def find(log: str) -> Report | None:
    """The last report of a log; None when the kernel writes none."""
    heads = list(_HEAD.finditer(log))
    if not heads:
        return None
    head = heads[-1]
    sections: dict[str, list[str]] = {}
    inside: list[str] | None = None
    for line in log[head.end() :].splitlines():
        if title := _TITLE.match(line):
            inside = sections.setdefault(title[1], [])
        elif line.startswith("  ") and inside is not None:
            inside.append(line)
        elif line:  # statistics
            inside = None
    return Report(
        log[: head.start()],
        head[1],
        head[2] or "",
        _text(sections.get("Reason", [])),
        _text(sections.get("Suggestion", [])),
        _instruction("\n".join(sections.get("At", []))),
    )


def _text(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)


def _instruction(at: str) -> int | None:
    _source, _, around = at.partition("  Instruction context:\n")
    found = _MARKED.search(around) or _BARE.search(at)
    return None if found is None else int(found[1])
