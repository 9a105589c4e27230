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
from fusebpf.objfile.lines import SourceLine
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


#: In the form of Linux 7.3, which has been asked; the kernels of the tests do not report yet.
REPORT = """\
0: R1=ctx() R10=fp0
; __u64 *v = bpf_map_lookup_elem(&m, &k); @ odd.py:3
16: (85) call bpf_map_lookup_elem#1   ; R0=map_value_or_null(id=1,map=m,ks=4,vs=8)
; return *v; @ odd.py:4
17: (79) r1 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'

Verification failed: Register Type Safety: Invalid dereference

Reason:
  R0 may be NULL here (a nullable map value pointer). The program could dereference NULL on this
  path, so the verifier cannot prove this access is safe.

At:
  wild_standin @ odd.py:4:0
  Source context:
        2 | line_2 = 0
  >>>   4 | line_4 = 0
          | ^-- error: invalid dereference of R0 (a nullable map value pointer)
  Instruction context:
      16 | (85) call bpf_map_lookup_elem#1
  >>> 17 | (79) r1 = *(u64 *)(r0 +0)
      18 | (95) exit

Causal path:
  wild_standin @ odd.py:3:0
  Source context:
  >>>   3 | line_3 = 0
          | ^-- R0: call returns a nullable map value pointer
  Instruction context:
  >>> 16 | (85) call bpf_map_lookup_elem#1

Suggestion:
  Add a NULL check before the access and dereference the pointer only on the non-NULL path.

verification time 101 usec
processed 16 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 1
"""


def test_the_report_of_newer_kernels_is_read() -> None:
    found = verdicts.read(REPORT)
    assert found.instruction == 17
    assert found.reason.startswith("Invalid dereference: R0 may be NULL here (a nullable map value")
    assert found.reason.endswith("on this path, so the verifier cannot prove this access is safe.")
    old = verdicts.read(REPORT[: REPORT.index("Verification failed")])
    assert (found.cause, found.help) == (old.cause, old.help)
    assert "is not None" in found.help


def test_a_report_leads_to_the_line_of_the_author() -> None:
    at = SourceLine(17, "odd.py", 4, "line_4 = 0")
    (found,) = VerifierError("wild is refused", REPORT, "wild_standin", at).diagnostics
    assert "Invalid dereference: R0 may be NULL" in found.message
    assert (found.file, found.line) == ("odd.py", 4)
    assert found.notes == ("usual cause: a value of a map is used that may be missing",)


def test_a_report_without_source_names_its_instruction() -> None:
    at = REPORT[REPORT.index("  wild_standin @ odd.py:4") : REPORT.index("  Instruction context")]
    assert verdicts.read(REPORT.replace(at, "  insn 17\n")).instruction == 17
    context = REPORT[REPORT.index("  Instruction context") : REPORT.index("Causal path")]
    bare = REPORT.replace(at, "  insn 21\n").replace(context, "\n", 1)
    assert verdicts.read(bare).instruction == 21


@pytest.mark.parametrize(
    ("kind", "problem", "cause"),
    [
        ("Memory Safety", "Access outside bounds", "a number that may be too large"),
        ("Resource Lifetime Safety", "Unreleased resource", "not given back"),
        ("Policy", "Operation is not allowed", "does not have this function"),
    ],
)
def test_the_kind_of_a_report_tells_the_cause(kind: str, problem: str, cause: str) -> None:
    text = f"the moon is wrong\n\nVerification failed: {kind}: {problem}\n\nReason:\n  So.\n"
    assert cause in verdicts.read(text).cause


def test_what_no_table_knows_is_told_as_the_kernel_suggests() -> None:
    text = "\nVerification failed: Odd\n\nReason:\n  So.\n\nSuggestion:\n  Wait for\n  it.\n\n"
    text += "processed 1 insns\n"
    found = verdicts.read(text)
    assert (found.reason, found.cause, found.help) == ("Odd: So.", "", "Wait for it.")


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


def test_what_stands_behind_an_instruction_is_the_reason() -> None:
    log = (
        "func 'fsync_prefilter' arg0 has btf_id 114067 type STRUCT 'bpf_fuse_meta_info'\n"
        "160: (79) r1 = *(u64 *)(r9 +72)       ; R1_w=scalar() R9_w=mem(sz=136) refs=4\n"
        "161: (15) if r1 == 0x1 goto pc+4 BPF program is too large. Processed 1000001 insn\n"
        "processed 1000001 insns (limit 1000000) max_states_per_insn 27 total_states 24673\n"
    )
    refusal = verdicts.read(log)
    assert refusal.reason == "BPF program is too large. Processed 1000001 insn"
    assert refusal.instruction == 161
    assert "so many paths" in refusal.cause
