# SPDX-License-Identifier: MIT
"""C functions for what is asked of names in one place each: large sets, and glob patterns."""

from __future__ import annotations

from collections.abc import Iterator

from fusebpf.compiler import ir
from fusebpf.compiler.cnames import comment, identifier, string
from fusebpf.compiler.globs import One, Run, Segment, segments
from fusebpf.compiler.walk import expressions, statements

#: Sets of more names than this get a function that switches on the length first.
_SMALL_SET = 2

Glob = tuple[bytes, bool]


class NameFunctions:
    """The functions that a program needs, and what they are called."""

    def __init__(self, program: ir.Program, taken: list[str]) -> None:
        self.sets: dict[tuple[bytes, ...], str] = {}
        self.globs: dict[Glob, str] = {}
        self.lines: list[str] = []
        self._taken = taken
        for expr in _asked(program):
            if isinstance(expr, ir.NameGlob):
                for key in ((pattern, expr.fold) for pattern in expr.patterns):
                    if key not in self.globs:
                        self.globs[key] = name = self._name(f"name_glob{len(self.globs) + 1}")
                        self._glob(name, *key)
            elif (
                expr.how == "equal"
                and not expr.fold
                and len(expr.values) > _SMALL_SET
                and expr.values not in self.sets
            ):
                self.sets[expr.values] = name = self._name(f"name_in_set{len(self.sets) + 1}")
                self._set(name, expr.values)

    def _name(self, wanted: str) -> str:
        name = identifier(wanted, self._taken)
        self._taken.append(name)
        return name

    def _set(self, name: str, values: tuple[bytes, ...]) -> None:
        self.lines.append(f"static __fusebpf_inline _Bool {name}(const struct fusebpf_buf *name)")
        self.lines.append("{")
        self.lines.append("\tswitch (fusebpf_len(name)) {")
        for size in sorted({len(value) for value in values}):
            tests = [
                f"fusebpf_name_is(name, {string(value)}, {size}, 0)"
                for value in sorted(values)
                if len(value) == size
            ]
            self.lines.append(f"\tcase {size}:")
            joined = " ||\n\t\t       ".join(tests)
            self.lines.append(f"\t\treturn {joined};")
        self.lines += ["\tdefault:", "\t\treturn 0;", "\t}", "}", ""]

    # ------------------------------------------------------------ globs

    def _glob(self, name: str, pattern: bytes, fold: bool) -> None:
        parts = segments(pattern)
        functions = [
            self._part(f"{name}_{index + 1}", part, fold) if part.items else ""
            for index, part in enumerate(parts)
        ]
        least = sum(part.size for part in parts)
        self.lines.append(f"/* glob {comment(pattern.decode('utf-8', 'backslashreplace'))} */")
        self.lines.append(f"static __always_inline _Bool {name}(const struct fusebpf_buf *name)")
        self.lines.append("{")
        self.lines.append("\t__u64 len = fusebpf_len(name);")
        if len(parts) == 1:
            self.lines.append(f"\n\treturn len == {least} && {functions[0]}(name, 0);")
            self.lines += ["}", ""]
            return
        if len(parts) > 2:
            self.lines.append(f"\t__u64 at = {parts[0].size};")
        self.lines += ["", f"\tif (len < {least})", "\t\treturn 0;"]
        if functions[0]:
            self.lines += [f"\tif (!{functions[0]}(name, 0))", "\t\treturn 0;"]
        end = f"len - {parts[-1].size}" if parts[-1].size else "len"
        for part, function in zip(parts[1:-1], functions[1:-1], strict=True):
            self.lines.append(
                f"\tat = fusebpf_glob_find(name, at, {end}, {part.size}, {function});"
            )
            self.lines += ["\tif (!at)", "\t\treturn 0;"]
        last = f"{functions[-1]}(name, {end})" if functions[-1] else "1"
        self.lines.append(f"\treturn {last};")
        self.lines += ["}", ""]

    def _part(self, wanted: str, part: Segment, fold: bool) -> str:
        """The function that compares the bytes from a place on with one part of a pattern."""
        name = self._name(wanted)
        tests: list[str] = []
        bytes_: list[str] = []
        at = 0
        for item in part.items:
            place = f"at + {at}" if at else "at"
            if isinstance(item, Run):
                text = f"{string(item.text)}, {len(item.text)}"
                tests.append(f"fusebpf_text_at(name, {place}, {text}, {int(fold)})")
                at += len(item.text)
                continue
            if len(item.allowed) < 256:
                byte = f"b{len(bytes_) + 1}"
                bytes_.append(
                    f"\tconst __u8 {byte} = fusebpf_glob_byte(name, {place}, {int(fold)});"
                )
                tests.append(_class_test(byte, item))
            at += 1
        self.lines.append(
            f"static __fusebpf_inline _Bool {name}(const struct fusebpf_buf *name __fusebpf_unused,"
        )
        self.lines.append("\t__u64 at __fusebpf_unused)")
        self.lines.append("{")
        self.lines += [*bytes_, ""] if bytes_ else []
        # Not &&: one path instead of one for each item.
        self.lines.append(f"\treturn {' & '.join(tests) or '1'};")
        self.lines += ["}", ""]
        return name


def _class_test(byte: str, item: One) -> str:
    ranges = [f"fusebpf_between({byte}, {first}, {last})" for first, last in item.ranges]
    return f"({' | '.join(ranges)})" if ranges else "0"


def _asked(program: ir.Program) -> Iterator[ir.NameTest | ir.NameGlob]:
    for function in (*program.helpers, *program.filters):
        for stmt in statements(function.body):
            for expr in expressions(stmt):
                if isinstance(expr, ir.NameTest | ir.NameGlob):
                    yield expr
