# SPDX-License-Identifier: MIT
"""Types, flow and lowering: what single constructs become, and what is refused."""

from __future__ import annotations

import pytest

from fusebpf.compiler import CompileResult, compile_set, ir
from fusebpf.compiler.cnames import comment, identifier, string
from fusebpf.compiler.types import BOOL, S64, U32, U64, VERDICT, IntType, Type
from fusebpf.compiler.walk import expressions, statements
from fusebpf.dsl import FilterSet

HEAD = """\
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *
filters = FilterSet("unit")
table = filters.hash("table", key=u32, value=u64, max_entries=8)
array = filters.array("array", value=u32, max_entries=8)
bytes_ = filters.array("bytes_", value=u8, max_entries=8)
"""
LINES = HEAD.count("\n")


def compile_text(text: str) -> CompileResult:
    source = HEAD + text
    namespace: dict[str, object] = {"__name__": "unit"}
    exec(compile(source, "unit.py", "exec"), namespace)
    fset = namespace["filters"]
    assert isinstance(fset, FilterSet)
    return compile_set("unit.py", source, fset, namespace)


def body(lines: str, hook: str = "write_iter.pre", params: str = "req: WriteIn") -> CompileResult:
    indented = "\n".join(f"    {line}" for line in lines.splitlines())
    return compile_text(f"@filters.{hook}\ndef f(ctx: Context, {params}):\n{indented}\n")


def name_body(lines: str) -> CompileResult:
    return body(lines, "lookup.pre", "name: Name")


def codes(result: CompileResult) -> list[str]:
    return [d.code for d in result.diagnostics]


def only_filter(result: CompileResult) -> ir.Function:
    assert not result.diagnostics, [d.message for d in result.diagnostics]
    assert result.ir is not None
    return result.ir.filters[0]


def local_types(result: CompileResult) -> dict[str, Type]:
    return {local.name: local.type for local in only_filter(result).locals}


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("x = req.size", U32),
        ("x = req.offset", U64),
        ("x = req.size + 1", S64),
        ("x = req.offset + 1", U64),
        ("x = req.size & 7", U32),
        ("x = req.offset & ~7", U64),
        ("x = ~req.size", S64),
        ("x = -req.offset", U64),
        ("x = req.size >> 3", U32),
        ("x = req.size << 3", S64),
        ("x = req.size == 3", BOOL),
        ("x = not req.size", BOOL),
        ("x = CONTINUE", VERDICT),
        ("x = req.offset if req.size else 0", U64),
        ("x = req.offset // (req.size or 1)", U64),
        ("x = 0\nx = req.offset", U64),
        ("x = 0\nx += 1", S64),
        ("x = 0\nfor i in range(4):\n    x += req.offset", U64),
        ("x = 0\nif ctx.pid:\n    x = ctx.uid", U32),
        ("x = -1\nif ctx.pid:\n    x = ctx.uid", S64),
        ("x = 1 << 63\nx += 1", U64),
        ("x = True\nx = x + 1", S64),
        ("x: u64 = 0\nx += 1", U64),
        ("x = min(req.offset, 10)", U64),
        ("x = table.get(ctx.uid, 0)", U64),
        ("x = u32(req.offset)", U32),
        ("y = req.offset\nx = y - ctx.uid", U64),
        ("x = s64(req.offset) - 1", S64),
    ],
)
def test_inferred_types(lines: str, wanted: Type) -> None:
    result = body(f"{lines}\nif x == x:\n    return -EPERM")
    assert local_types(result)["x"] == wanted


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("if req.offset + ctx.error_in > 3: return -EPERM", "E217"),
        ("x = req.offset\nif ctx.pid: x = ctx.error_in", "E208"),
        ("x = 1\nif ctx.pid: x = CONTINUE", "E208"),
        ("req.flags = 1 << 32", "E213"),
        ("table[ctx.nodeid] += 1", "E215"),
        ("bytes_[0] += 1", "E265"),
        ("x = req.offset // req.size", "E218"),
        ("x = req.offset >> req.size", "E219"),
        ("x = array[req.size]", "E260"),
        ("x = table.get(1)\nif x is None: pass\nif x > 3: return -EPERM", "E212"),
        ("for i in range(req.size): pass", "E240"),
        ("for i in range(0, 5, 0): pass", "E241"),
        ("for i in range(3): pass\nelse: pass", "E103"),
        ("x = 5 if ctx.uid else CONTINUE", "E221"),
        ("x = (ctx.uid, 3)", "E222"),
        ("x = 3 .bit_length()", "E206"),
        ("x = sum(3)", "E201"),
        ("if (x := ctx.uid) + (y := 3): pass", "E229"),
        ("x = 5\nx()", "E251"),
        ("return -CONTINUE", "E211"),
        ("return None if ctx.uid else 3", "E221"),
        ("array.name = 3", "E280"),
    ],
)
def test_refused(lines: str, code: str) -> None:
    result = body(lines)
    assert result.c_source is None
    assert code in codes(result), [d.message for d in result.diagnostics]
    assert "E999" not in codes(result)


@pytest.mark.parametrize(
    "lines",
    [
        "x = req.offset // req.size if req.size else 0",
        "if req.size:\n    x = req.offset // req.size",
        "if req.size == 0:\n    return\nx = req.offset % req.size",
        "if not req.size:\n    return -EINVAL\nx = req.offset % req.size",
        "if req.size > 0 and req.offset // req.size > 3:\n    return -EPERM",
        "if req.size == 0 or req.offset // req.size > 3:\n    return -EPERM",
        "d = req.size\nif d != 0:\n    x = req.offset // d",
        "x = 1 << (req.size & 63)",
        "if req.size < 64:\n    x = 1 << req.size",
        "n = req.size\nif 3 <= n < 9:\n    x = array[n - 3]",
        "x = array[req.size % 8]",
        "x = array[min(req.size, 7)]",
        "for i in range(8):\n    array[i] = i",
        "for i in range(min(req.size, 100)):\n    x = i",
        "q = table.get(1)\nif q is not None and q > 3:\n    return -EPERM",
        "q = table.get(1)\nif q is None:\n    return\nx = q + 1",
        "q = table.get(1)\nif q is None or q > 3:\n    return -EPERM\nx = q",
        "q = table.get(1)\nif q is None:\n    q = 3\nx = q",
        "if (q := table.get(1)) is not None:\n    x = q",
        "if req.size in (1, 2, 3):\n    x = 5 // req.size",
        "x = 5\nwhile_ = x\nreq.flags = while_ * 1",
        "if 0 < req.offset < ctx.uid < 10:\n    return -EPERM",
        "n = ctx\nr = req\nr.flags = n.uid",
    ],
)
def test_proved_by_the_lines_around(lines: str) -> None:
    only_filter(body(lines))


@pytest.mark.parametrize(
    "lines",
    [
        "d = req.size\nif d != 0:\n    d = ctx.uid\n    x = 5 // d",
        "if req.size:\n    req.size = 0\n    x = 5 // req.size",
        "d = 3\nfor i in range(3):\n    x = 5 // d\n    d = ctx.uid",
        "d = req.size\nif d == 0 or ctx.uid:\n    x = 5 // d",
        "if req.size > 0:\n    pass\nx = 5 // req.size",
    ],
)
def test_facts_end_where_they_stop_to_hold(lines: str) -> None:
    assert codes(body(lines)) == ["E218"]


def test_a_helper_that_writes_ends_facts() -> None:
    text = """
def clear(req: WriteIn):
    req.size = 0


@filters.write_iter.pre
def f(ctx: Context, req: WriteIn):
    if req.size:
        clear(req)
        x = 5 // req.size
"""
    assert codes(compile_text(text)) == ["E218"]


def test_names_become_tests() -> None:
    result = name_body(
        'if name == "a" or name in {"b", "cc"} or name.endswith((".x", ".y")):\n'
        "    return -EPERM\n"
        'if name.lower() == "readme" or name[:2] == "ab" or name[-2:] == "yz" or name[3:] == "q":\n'
        "    return -EPERM"
    )
    found = [
        (test.how, test.values, test.fold, test.offset, test.whole)
        for stmt in statements(only_filter(result).body)
        for test in expressions(stmt)
        if isinstance(test, ir.NameTest)
    ]
    assert ("equal", (b"a",), False, 0, False) in found
    assert ("suffix", (b".x", b".y"), False, 0, False) in found
    assert ("equal", (b"readme",), True, 0, False) in found
    assert ("at", (b"ab",), False, 0, False) in found
    assert ("suffix", (b"yz",), False, 0, False) in found
    assert ("at", (b"q",), False, 3, True) in found


def test_loop_locals_live_in_the_frame() -> None:
    function = only_filter(
        name_body("total = 0\nfor i in range(len(name)):\n    total += name[i]\nx = total")
    )
    assert function.frame == {"total"}


def test_branchy_filters_keep_numbers_in_the_frame() -> None:
    lines = ["a = 0"]
    lines += [f"if req.flags & {1 << i}:\n    a += {i}" for i in range(12)]
    function = only_filter(body("\n".join([*lines, "if a > 7:", "    return -EPERM"])))
    assert function.branchy
    assert function.frame == {"a"}


def test_scalar_helpers_stand_alone() -> None:
    text = """
def double(x: int) -> int:
    return 2 * x


def starts(name: Name, x: int) -> bool:
    return name[0] == double(x)


@filters.lookup.pre
def f(ctx: Context, name: Name):
    if starts(name, 3):
        return -EPERM
"""
    result = compile_text(text)
    assert result.ir is not None
    assert {h.name: h.alone for h in result.ir.helpers} == {"double": True, "starts": False}
    assert [h.name for h in result.ir.helpers] == ["double", "starts"]


def test_every_statement_has_its_line() -> None:
    result = name_body("x = 1\nif len(name) > 3:\n    return -EPERM\nreturn CONTINUE")
    assert result.c_source is not None
    for offset in (3, 4, 5):
        assert f'#line {LINES + 1 + offset} "unit.py"' in result.c_source
    lines = result.c_source.splitlines()
    assert lines.count('#line 1 "<generated>"') >= 1


def test_steps_and_size_are_counted() -> None:
    result = name_body("t = 0\nfor i in range(10):\n    for j in range(20):\n        t += i")
    assert result.hooks[0].steps == 200
    assert 0 < result.hooks[0].size < 200


def test_too_large_a_filter_is_refused() -> None:
    words = ", ".join(f'"a-rather-long-name-{i}"' for i in range(1200))
    result = name_body(f"if name in {{{words}}}:\n    return -EPERM")
    assert codes(result) == ["E245"]


def test_frame_is_bounded() -> None:
    lines = [f"v{i} = 0" for i in range(300)]
    lines += ["for i in range(3):", *(f"    v{i} += ctx.uid" for i in range(300))]
    assert "E246" in codes(body("\n".join(lines)))


def test_deep_calls_are_refused() -> None:
    helpers = "\n".join(
        f"def h{i}(x: int) -> int:\n    return {f'h{i - 1}(x) + 1' if i else 'x'}\n"
        for i in range(12)
    )
    result = compile_text(
        helpers + "\n@filters.open.pre\ndef f(ctx: Context, req: OpenIn):\n"
        "    if h11(3) == 4:\n        return -EPERM\n"
    )
    assert codes(result) == ["E292"]


def test_deep_expressions_do_not_crash() -> None:
    deep = "(" * 80 + "ctx.uid" + " + 1)" * 80
    only_filter(body(f"x = {deep}"))
    very_deep = "ctx.uid" + " + ctx.uid" * 900
    assert codes(body(f"x = {very_deep}")) == ["E299"]


@pytest.mark.parametrize("type_", [U32, U64, S64])
def test_wrap(type_: IntType) -> None:
    assert type_.wrap(type_.hi + 1) == type_.lo
    assert type_.wrap(type_.lo - 1) == type_.hi


def test_c_names_and_strings() -> None:
    assert identifier("hide_keys") == "hide_keys"
    assert identifier("int") == "int_"
    assert identifier("printf") == "printf_"
    assert identifier("__x") == "py_x"
    assert identifier("é") == "ue9"
    assert identifier("a", ["a", "a_"]) == "a__"
    assert string(b'a"\\?\xc3\x01') == '"a\\"\\\\\\?\\303\\001"'
    assert comment("x = 1 */ \\") == "x = 1 * / \\ "


def test_reserved_words_of_c_are_fine_in_python() -> None:
    text = """
def int_(static: int) -> int:
    return static + 1


@filters.open.pre
def printf(ctx: Context, struct: OpenIn):
    array_ = array[3]
    register = int_(array_)
    table_ = register
    frame = memory = table_
    for long in range(3):
        frame += long
    if frame + memory == struct.flags:
        return -EPERM
"""
    result = compile_text(text)
    assert result.hooks[0].c_name == "printf_"
    assert result.c_source is not None


def test_comparing_names_counts_as_a_loop() -> None:
    result = body(
        "for i in range(100):\n    if old == new:\n        return -EPERM",
        "rename2.pre",
        "req: Rename2In, old: Name, new: Name",
    )
    assert result.hooks[0].steps == 25500
