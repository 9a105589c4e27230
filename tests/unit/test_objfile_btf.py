# SPDX-License-Identifier: MIT
"""The BTF reader, on BTF that clang wrote and on the running kernel's."""

from __future__ import annotations

import pytest

from fusebpf.objfile.btf import KERNEL_BTF, Btf, BtfError
from fusebpf.runtime.libbpf import Object
from tests.unit.runtime_objects import compiled

BODY = """
enum colour { RED, GREEN = 5 };
enum big { HUGE = 0x100000000ULL };
struct inner { __u32 a; __u64 b[3]; };
struct outer { char name[15]; __u32 low : 3; __u32 high : 5; struct inner in;
               int (*call)(int, long);
               union { __u64 u; float f; } either; enum colour colour; enum big big; };
typedef struct outer __attribute__((btf_decl_tag("tagged"))) outer_t;
const volatile outer_t constant = { .low = 1 };
const volatile __u64 second = 2;
SEC("raw_tp/x") int x(__u64 *ctx) { return constant.low + (int)second; }
"""


@pytest.fixture(scope="module")
def btf() -> Btf:
    with Object(compiled(BODY), "btf") as opened:
        return opened.btf


def test_members_have_names_and_offsets(btf: Btf) -> None:
    members = btf.struct_members("outer")
    assert members is not None
    offsets = {field.name: field.offset for field in members}
    # Bit fields lie at the byte their storage begins in: after 15 bytes of name, aligned to 4.
    assert offsets["name"] == 0
    assert offsets["in"] % 8 == 0
    assert offsets["call"] == offsets["in"] + 32
    assert offsets["either"] == offsets["call"] + 8
    assert btf.struct_size("inner") == 32
    assert btf.struct_members("nobody") is None
    assert btf.struct_size("nobody") is None


def test_variables_of_a_section(btf: Btf) -> None:
    variables = btf.section_variables(".rodata")
    assert set(variables) == {"constant", "second"}
    assert variables["second"].size == 8
    assert variables["constant"].size == btf.struct_size("outer")
    assert btf.section_variables(".nothing") == {}


def test_type_ids_outside_are_no_sections(btf: Btf) -> None:
    assert btf.section_of_id(0) == {}
    assert btf.section_of_id(10**6) == {}
    assert btf.section_of_id(1) == {}


@pytest.mark.parametrize("raw", [b"", b"\0" * 40, b"\x9f\xeb\x02" + b"\0" * 40])
def test_rubbish_is_refused(raw: bytes) -> None:
    with pytest.raises(BtfError):
        Btf(raw)


def test_the_kernels_own() -> None:
    raw = KERNEL_BTF / "vmlinux"
    if not raw.exists():
        pytest.skip("this kernel has no BTF")
    members = Btf(raw.read_bytes()).struct_members("list_head")
    assert members is not None
    assert [(field.name, field.offset) for field in members] == [("next", 0), ("prev", 8)]
