# SPDX-License-Identifier: MIT
"""Declarations: filter sets, maps, verdicts, and filters called as plain Python."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fusebpf.constants as constants
from fusebpf.abi import OPS, STRUCTS
from fusebpf.daemon import structs
from fusebpf.daemon.generate import render as daemon_structs
from fusebpf.dsl import (
    CONTINUE,
    POSTFILTER,
    Context,
    Dirent,
    Dirents,
    DslError,
    Errno,
    FilterSet,
    Name,
    OpenIn,
    SetattrIn,
    UnknownHookError,
    Verdict,
    generated,
    refuse,
)
from fusebpf.dsl.generate import class_name, render
from fusebpf.types import s8, s32, u8, u32, u64


@pytest.mark.parametrize(
    ("module", "text"), [(generated, render()), (structs, daemon_structs())], ids=["dsl", "daemon"]
)
def test_generated_module_is_up_to_date(module: ModuleType, text: str, tmp_path: Path) -> None:
    path = tmp_path / "generated.py"
    path.write_text(text, encoding="utf-8")
    config = Path(__file__).parents[2] / "pyproject.toml"
    subprocess.run(
        [sys.executable, "-m", "ruff", "format", "-q", "--config", str(config), str(path)],
        check=True,
    )
    assert module.__file__
    assert path.read_text(encoding="utf-8") == Path(module.__file__).read_text(encoding="utf-8")


def test_every_operation_and_struct_is_there() -> None:
    filters = FilterSet("all")
    assert set(filters.operations()) == set(OPS) | {"create"}
    assert filters.create is filters.create_open
    assert filters.rename is filters.rename2  # one operation, with flags or without
    for op in OPS.values():
        if op.name == "rename":
            continue
        assert hasattr(generated, class_name(op))
    for struct in STRUCTS.values():
        made = getattr(generated, struct.py_name)()
        assert {f.name for f in struct.fields if not f.reserved} == set(vars(made))


def test_errnos_are_those_of_the_kernel() -> None:
    for name, number in vars(errno).items():
        if name.startswith("E") and isinstance(number, int):
            assert getattr(constants, name).value == number, name


def test_verdicts_and_errnos_are_not_numbers() -> None:
    assert Verdict(-2) == -constants.ENOENT
    assert -constants.ENOENT == -2
    assert constants.ENOENT != 2
    assert not isinstance(constants.ENOENT, int)
    assert repr(CONTINUE) == "CONTINUE"
    assert len({CONTINUE, Verdict(0), POSTFILTER}) == 2
    with pytest.raises(TypeError, match="compare it"):
        bool(CONTINUE)
    for wrong in (6, -512, 255):
        with pytest.raises(ValueError, match="not a verdict"):
            Verdict(wrong)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(13, -13), (-13, -13), (0, -1), (4096, -511), (-(1 << 63), -511), (Errno(5, "EIO"), -5)],
)
def test_refuse_clamps(given: int | Errno, wanted: int) -> None:
    assert refuse(given).value == wanted


def test_fixed_widths_wrap() -> None:
    assert u8(256 + 7) == 7
    assert s8(200) == -56
    assert u32(-1) == 0xFFFFFFFF
    assert s32(1 << 31) == -(1 << 31)
    assert type(u64(3)) is int
    req = OpenIn(flags=-1)
    assert req.flags == 0xFFFFFFFF
    req.flags += 2
    assert req.flags == 1
    with pytest.raises(AttributeError, match="no member 'flgas'"):
        req.flgas = 1  # type: ignore[attr-defined]


def test_names_compare_with_text_and_bytes() -> None:
    name = Name("né.Pem")
    assert len(name) == 7
    assert name == "né.Pem"
    assert name == "né.Pem".encode()
    assert name in {"x", "né.Pem"}
    assert name.endswith((".key", ".Pem"))
    assert name.lower().endswith(".pem")
    assert name[0] == ord("n")
    assert name[-1] == ord("m")
    assert name[7] == 0
    assert name[-8] == 0
    assert name[:1] == "n"
    assert Name(b"\xff\xfe") in {b"\xff\xfe"}
    assert name != 5


def test_maps_work_in_plain_python() -> None:
    filters = FilterSet("maps")
    table = filters.hash("table", key=u32, value=u8, max_entries=2)
    assert table.get(1) is None
    assert table.get(1, 7) == 7
    table[1] += 255
    table[1] += 2
    assert table.get(1) == 1
    assert table.put(2, 5)
    assert not table.put(3, 5)
    assert 3 not in table
    assert table.discard(2)
    assert not table.discard(2)
    recent = filters.lru_hash("recent", key=u32, value=u64, max_entries=2)
    assert all(recent.put(key, key) for key in range(5))
    assert len(recent.data) == 2
    array = filters.array("array", value=u64, max_entries=2)
    array[1] += 3
    assert (array[0], array[1], len(array)) == (0, 3, 2)
    with pytest.raises(IndexError, match="outside map 'array'"):
        array[2] = 1


def test_a_filter_is_a_function() -> None:
    filters = FilterSet("plain")

    @filters.lookup.pre
    def hide(ctx: Context, name: Name) -> Verdict | None:
        if name in {".env"} and ctx.uid != 0:
            return -constants.ENOENT
        return None

    assert hide(Context(uid=5), Name(".env")) == -2
    assert hide(Context(uid=0), Name(".env")) is None
    assert [entry.hook for entry in filters.filters] == ["lookup_prefilter"]
    listing = Dirents([Dirent("a"), Dirent("b")])
    for entry in listing:
        if entry.name == "a":
            entry.drop()
    assert [entry.dropped for entry in listing.entries] == [True, False]
    assert [entry.name for entry in listing] == ["b"]


def test_mistakes_carry_their_line() -> None:
    filters = FilterSet("wrong")
    with pytest.raises(UnknownHookError, match="there is no operation 'opne'") as caught:
        filters.opne  # type: ignore[attr-defined]  # noqa: B018
    assert caught.value.file == __file__
    assert caught.value.line == caught.tb.tb_lineno
    assert caught.value.help == "did you mean 'open'?"
    assert not hasattr(filters, "opne")
    assert not hasattr(filters, "__wrapped__")
    for name in ("", "with space", "x" * 65, "a/b"):
        with pytest.raises(DslError, match="cannot be the name of a filter set"):
            FilterSet(name)
    with pytest.raises(DslError, match="16777217"):
        filters.array("a", value=u64, max_entries=(1 << 24) + 1)
    with pytest.raises(DslError, match="reserved"):
        filters.array("fusebpf_x", value=u64, max_entries=1)


def _help(name: str) -> str:
    with pytest.raises(UnknownHookError) as caught:
        getattr(FilterSet("wrong"), name)
    return caught.value.help or ""


def test_an_opcode_leads_to_its_operation() -> None:
    known = FilterSet("known").operations()
    for op in OPS.values():
        word = op.opcode_name.lower()
        if word not in known:
            assert _help(word) == _help(op.opcode_name) == f"did you mean {op.name!r}?"


def test_other_words_for_an_operation() -> None:
    assert "@filters.setattr.pre" in _help("chmod")
    assert "@filters.getattr.pre" in _help("stat")
    assert "percpu_hash" in _help("ringbuf")
    assert "register" not in _help("ringbuf")


def test_flags_of_setattr_are_members() -> None:
    req = SetattrIn(valid=constants.FATTR_SIZE, size=1 << 40)
    assert req.size == 1 << 40
