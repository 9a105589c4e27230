# SPDX-License-Identifier: MIT
"""The opcode table against the kernel's own header, and the generated header against the table."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from fusebpf.abi import HOOKS, OPS, STRUCTS, Op, Struct, markdown
from fusebpf.abi.cheader import header_path, render
from fusebpf.abi.effects import EFFECTS
from fusebpf.abi.protocol import INIT_FLAGS, NOTIFY, PROTOCOL_STRUCTS, REQUESTS


def probe(
    tmp_path: Path, include: str, structs: list[Struct], constants: list[str]
) -> dict[str, int]:
    """Compile and run a C program that prints what the compiler makes of a header."""
    lines = [
        f"#include {include}",
        "#include <stddef.h>",
        "#include <stdio.h>",
        # Before minor version 40 the last member of fuse_open_out had no use and another name.
        "#if defined(FUSE_KERNEL_MINOR_VERSION) && FUSE_KERNEL_MINOR_VERSION < 40",
        "#define backing_id padding",
        "#define max_stack_depth unused[0]",
        "#endif",
        "int main(void) {",
    ]

    def emit(key: str, value: str) -> None:
        lines.append(f'printf("{key} %zu\\n", (size_t)({value}));')

    for struct in structs:
        emit(struct.name, f"sizeof(struct {struct.name})")
        for field in struct.fields:
            member = f"((struct {struct.name} *)0)->{field.name}"
            emit(f"{struct.name}.{field.name}", f"offsetof(struct {struct.name}, {field.name})")
            emit(f"{struct.name}.{field.name}.size", f"sizeof({member})")
            if field.struct is None:
                one = f"{member}[0]" if field.count > 1 else member
                emit(f"{struct.name}.{field.name}.signed", f"(typeof({one}))-1 < 0")
    if include.startswith("<"):
        emit("minor", "FUSE_KERNEL_MINOR_VERSION")
    for constant in constants:
        emit(constant, constant)
    lines.append("return 0; }")
    source = tmp_path / "probe.c"
    source.write_text("\n".join(lines))
    binary = tmp_path / "probe"
    subprocess.run(
        ["cc", "-w", "-I", str(header_path().parent), "-o", str(binary), str(source)],
        check=True,
    )
    out = subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout
    return {key: int(value) for key, value in (line.split() for line in out.splitlines())}


def expected(structs: list[Struct]) -> dict[str, int]:
    """What the table says of the same keys."""
    want: dict[str, int] = {}
    for struct in structs:
        want[struct.name] = struct.size
        for field in struct.fields:
            want[f"{struct.name}.{field.name}"] = field.offset
            want[f"{struct.name}.{field.name}.size"] = field.size
            if field.struct is None:
                want[f"{struct.name}.{field.name}.signed"] = int(field.signed)
    return want


OPCODES = {f"FUSE_{op.opcode_name}": op.opcode for op in OPS.values()}


def test_stock_layouts_are_those_of_the_uapi_header(tmp_path: Path) -> None:
    structs = [struct for struct in STRUCTS.values() if struct.stock]
    want = expected(structs)
    want |= OPCODES
    got = probe(tmp_path, "<linux/fuse.h>", structs, list(OPCODES))
    if got.pop("minor") < 40:
        want["fuse_open_out.backing_id.signed"] = 0  # unsigned padding before it had a use
    assert got == want


def test_generated_header_has_the_layouts_of_the_table(tmp_path: Path) -> None:
    structs = list(STRUCTS.values())
    # The host's libc headers declare the same fixed-width names; only the structs matter here.
    got = probe(tmp_path, '"fusebpf_abi.h"', structs, list(OPCODES))
    assert got == expected(structs) | OPCODES


def test_the_protocol_of_daemons_is_that_of_the_uapi_header(tmp_path: Path) -> None:
    structs = [struct for struct in PROTOCOL_STRUCTS.values() if struct.stock]
    constants = {f"FUSE_{request.opcode_name}": request.opcode for request in REQUESTS.values()}
    constants |= {f"FUSE_NOTIFY_{name}": code for name, code in NOTIFY.items()}
    constants |= {f"FUSE_{name}": value for name, value in INIT_FLAGS.items()}
    late = {"FUSE_NOTIFY_RESEND": 7, "FUSE_DIRECT_IO_ALLOW_MMAP": 1 << 36}  # minor 39 and 40
    want = expected(structs) | constants
    early = [name for name in constants if name not in late]
    got = probe(tmp_path, "<linux/fuse.h>", structs, early)
    if got.pop("minor") < 40:  # then max_stack_depth is the first of the unused words
        del got["fuse_init_out.unused"], got["fuse_init_out.unused.size"]
        del want["fuse_init_out.unused"], want["fuse_init_out.unused.size"]
    assert got | late == want


def test_generated_header_is_up_to_date() -> None:
    assert header_path().read_text(encoding="utf-8") == render(), (
        "run: python -m fusebpf.abi.cheader"
    )


def test_page_of_hooks_is_up_to_date() -> None:
    assert markdown.page_path().read_text(encoding="utf-8") == markdown.render(), (
        "run: python -m fusebpf.abi.markdown"
    )


def test_tables_of_the_reference_are_up_to_date() -> None:
    text = markdown.page_path("kernel.md").read_text(encoding="utf-8")
    assert text == markdown.with_tables(text), "run: python -m fusebpf.abi.markdown"
    for name, table in markdown.tables().items():
        assert f"<!-- generated: {name} -->\n{table}\n<!-- end -->" in text


def test_every_change_is_said_in_words() -> None:
    """An operation has a phrase for a phase where a filter may change something."""
    assert set(EFFECTS) == set(OPS)
    for name, op in OPS.items():
        effect = EFFECTS[name]
        assert bool(effect.clears) != bool(effect.stays)
        for text, args in ((effect.pre, op.pre), (effect.post, op.post[len(op.pre) :])):
            writable = [arg for arg in args if arg.writable]
            assert not text or writable, name
            for arg in writable:
                members = arg.struct.by_name if arg.struct else [arg.name]
                if not text:
                    # Only what identifies things to a daemon
                    assert arg.struct, name
                    continue
                assert arg.struct or any(member in text for member in members), (name, arg.name)


def test_members_are_in_the_order_of_v4_with_a_pair_each() -> None:
    members = re.findall(r"\(\*(\w+)\)\(const struct bpf_fuse_meta_info", render())
    assert members[0] == "default_filter"
    assert members[1:] == list(HOOKS)
    assert len(OPS) == 32
    assert members[1:3] == ["open_prefilter", "open_postfilter"]
    assert members[-2:] == ["access_prefilter", "access_postfilter"]


def test_one_form_a_struct_fits_64_members() -> None:
    form_a = [hook for hook in HOOKS.values() if hook.form_a]
    assert len(form_a) + len(["default_filter", "name"]) == 64


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_postfilter_sees_the_inputs_read_only(op: Op) -> None:
    for before, after in zip(op.pre, op.post, strict=False):
        assert after.name == before.name
        assert not after.writable
    assert all(arg.writable for arg in op.post[len(op.pre) :])
