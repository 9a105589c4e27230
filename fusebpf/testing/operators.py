# SPDX-License-Identifier: MIT
"""What the operators of the IR mean, for the typed Python run."""

from __future__ import annotations

from fusebpf.compiler import ir


class RunError(Exception):
    """The program or the case breaks a rule that the front end is meant to enforce."""


def name_test(text: bytes, test: ir.NameTest) -> bool:
    """Whether a name passes a test."""
    if test.fold:
        text = text.lower()
    for value in test.values:
        match test.how:
            case "equal":
                found = text == value
            case "prefix":
                found = text.startswith(value)
            case "suffix":
                found = text.endswith(value)
            case "at":
                part = text[test.offset :]
                found = part == value if test.whole else part.startswith(value)
        if found:
            return True
    return False


def compare(op: str, left: int, right: int) -> bool:
    """A comparison of two numbers."""
    return {
        "==": left == right,
        "!=": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }[op]


def arithmetic(op: str, left: int, right: int) -> int:
    """A result before it is wrapped. Raises ``RunError`` for what was not proved possible."""
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "//" | "%":
            if right == 0:
                raise RunError("a divisor was not proved non-zero")
            return left // right if op == "//" else left % right
        case "&":
            return left & right
        case "|":
            return left | right
        case "^":
            return left ^ right
        case "<<" | ">>":
            if not 0 <= right < 64:
                raise RunError(f"shift count {right} was not proved in range")
            return left << right if op == "<<" else left >> right
    raise RunError(f"unknown operator {op}")
