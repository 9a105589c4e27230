# SPDX-License-Identifier: MIT
"""What the kernel's verifier refuses comes back at the author's line, with the usual cause.

A filter that compiles is not refused, so the programs here are C by hand: the running kernel says
of each what it says, and the object's own tables lead to the line.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from fusebpf.abi import ABI_VERSION
from fusebpf.build import build_file
from fusebpf.build.clang import compile_c, find_clang
from fusebpf.build.metadata import HookMeta, Metadata, c_trailer
from fusebpf.objfile import parse
from fusebpf.objfile.layout import Layout
from fusebpf.runtime import features, verdicts
from fusebpf.runtime.load import VerifierError
from fusebpf.runtime.verify import verify

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root")

META = Metadata("odd", ABI_VERSION, "odd.py", "0", (HookMeta("h", "wild", 7, "wild"),), (), "", "")
TEXT = "".join(f"line_{number} = 0\n" for number in range(1, 60))

HEAD = """\
#include "fusebpf.h"
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} m SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} rb SEC(".maps");
static __attribute__((noinline)) int deep(__u64 x)
{
#line 40 "odd.py"
	return *(volatile int *)x;
}
FUSEBPF_LOOKUP_PREFILTER(wild, ctx, name)
{
"""

FIND = "__u32 k = name->len; __u64 *v = bpf_map_lookup_elem(&m, &k);\n"

#: What stands at line 3 of the filter file, a word of the usual cause, and the line to be named.
BAD = {
    "a wild pointer": ("return *(int *)(ctx->nodeid + name->len);", "address", 3),
    "a value that may be missing": (FIND + "return *v;", "may be missing", 4),
    "outside of a value": (
        FIND + "return v ? ((char *)v)[name->len] : 0;",
        "a number that may be too large",
        4,
    ),
    "outside of the stack": (
        "char b[8]; volatile char *p = b; return p[name->len & 63];",
        "a number that may be too large",
        3,
    ),
    "a loop without an end": (
        "volatile __u64 z = ctx->nodeid; while (z) z += ctx->nodeid; return 0;",
        "a loop without an end",
        3,
    ),
    "never set": ('int r; asm volatile("%0 = r8" : "=r"(r)); return r;', "never set it", 3),
    "no such function": (
        "return ((int (*)(void))(void *)9999)();",
        "does not have this function",
        3,
    ),
    "not given back": (
        "bpf_ringbuf_reserve(&rb, 16, 0);\n#line 5\nreturn 0;",
        "not given back",
        None,
    ),
    "in a called function": ("return deep(ctx->nodeid);", "address", 40),
}


def refused(body: str, tmp_path: Path) -> VerifierError:
    (tmp_path / "odd.py").write_text(TEXT)
    source = HEAD + f'#line 3 "odd.py"\n{body}\n}}\n'
    source += 'FUSEBPF_OPS("odd", .lookup_prefilter = FUSEBPF_PROG(wild))\n' + c_trailer(META)
    data = compile_c(find_clang(), source, tmp_path)
    with pytest.raises(VerifierError) as caught:
        verify(data, META)
    return caught.value


@needs_root
@pytest.mark.skipif(features.probe() is not None, reason="the stand-in is what is loaded here")
@pytest.mark.parametrize("name", BAD)
def test_the_line_and_the_usual_cause(name: str, tmp_path: Path) -> None:
    body, cause, line = BAD[name]
    error = refused(body, tmp_path)
    (found,) = error.diagnostics
    assert (found.code, found.file) == ("E950", "odd.py")
    assert cause in found.notes[0]
    assert line is None or found.line == line
    assert f"line_{found.line} = 0" in found.render(error.sources["odd.py"])
    # Kernels before 6.9 do not name the place of a line in the log: nothing depends on it.
    old = re.sub(r"^(; .*) @ \S+:\d+$", r"\1", error.log, flags=re.MULTILINE)
    assert verdicts.read(old) == verdicts.read(error.log)


OLD = """\
func#0 @0
0: R1=ctx(off=0,imm=0) R10=fp0
; return *v;
17: (79) r1 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
verification time 101 usec
stack depth 8
processed 16 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 1
"""


def test_statistics_and_states_are_no_reason() -> None:
    found = verdicts.read(OLD)
    assert found.reason == "R0 invalid mem access 'map_value_or_null'"
    assert found.instruction == 17
    assert "is not None" in found.help


def test_calls_of_the_kernel_are_no_part_of_the_program(tmp_path: Path) -> None:
    path = tmp_path / "caller.py"
    path.write_text(
        "from fusebpf import Context, FilterSet, OpenIn\n"
        "from fusebpf.constants import EPERM\n"
        'filters = FilterSet("caller")\n'
        "@filters.open.pre\n"
        "def only_root(ctx: Context, req: OpenIn):\n"
        "    if req.flags == 3 and ctx.uid != 0:\n"
        "        return -EPERM\n"
    )
    data = build_file(path, standins=False).data
    (program,) = (entry for entry in parse(path, data).programs)
    found = [Layout(data).line(program.name, number) for number in range(program.size // 8)]
    assert {line.line for line in found if line is not None} == {6}
