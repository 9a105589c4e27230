# SPDX-License-Identifier: MIT
"""`fusebpf inspect`: what an object tells, and what is said of a file that is none."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fusebpf.build import build_file
from fusebpf.cli import run
from fusebpf.errors import FusebpfError
from fusebpf.objfile import parse
from fusebpf.objfile.summary import summary
from tests.unit import json_schemas
from tests.unit.test_build_object import GUARD

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The object of GUARD."""
    directory = tmp_path_factory.mktemp("inspect")
    (directory / "guard.py").write_text(GUARD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSEBPF_CACHE", str(directory / "cache"))
        return build_file(directory / "guard.py").path


def test_all_that_an_object_tells(guard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "--json", "--lines", str(guard)]) == 0
    told = json.loads(capsys.readouterr().out)
    json_schemas.check("inspect", told)
    assert (told["set"], told["source_file"]) == ("guard", "guard.py")
    assert [entry["hook"] for entry in told["hooks"]] == ["lookup_prefilter", "open_prefilter"]
    assert {entry["name"]: entry["kind"] for entry in told["maps"]} == {
        "hits": "percpu_array",
        "trusted": "hash",
    }
    programs = {entry["name"]: entry for entry in told["programs"]}
    assert programs["hide_keys_ops"]["hook"] == programs["hide_keys_standin"]["hook"]
    assert all(entry["bytes"] == 8 * entry["instructions"] > 0 for entry in programs.values())
    assert "bpf_fuse_get_ro" in programs["hide_keys_ops"]["kfuncs"]
    assert programs["hide_keys_standin"]["kfuncs"] == []
    lines = programs["read_only_ops"]["lines"]
    assert any(
        entry["text"].strip().startswith("if req.flags & O_ACCMODE")
        and GUARD.splitlines()[entry["line"] - 1] == entry["text"]
        for entry in lines
    )
    assert [entry["instruction"] for entry in lines] == sorted(e["instruction"] for e in lines)
    assert lines[-1]["instruction"] < programs["read_only_ops"]["instructions"]
    assert told["kernel"] == {"series": ["6.12", "7.3"], "abi": 1, "abi_fits": True, "module": True}
    assert told["btf"]["types"] > 50


def test_text_names_each_part(guard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "--lines", str(guard)]) == 0
    out = capsys.readouterr().out
    for words in (
        "filter set guard",
        "lookup_prefilter: hide_keys (guard.py:11)",
        "trusted: hash u32 -> u64, 1024 entries",
        "read_only_ops (struct_ops, open_prefilter): ",
        "if req.flags & O_ACCMODE",
    ):
        assert words in out


def test_neither_clang_nor_libbpf_is_needed(guard: Path) -> None:
    script = "import sys, ctypes; ctypes.CDLL = None; from fusebpf.cli import run; "
    script += f"sys.exit(run(['inspect', {str(guard)!r}]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env={"PATH": ""})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"#!/bin/sh\n", "is not an ELF object"),
        (b"", "is not an ELF object"),
        (b"\x7fELF", "is a broken ELF object"),
        (Path(sys.executable).resolve().read_bytes()[:200_000], "is "),
    ],
)
def test_foreign_files(
    content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd").write_bytes(content)
    assert run(["inspect", str(tmp_path / "odd")]) == 1
    err = capsys.readouterr().err
    assert f"odd {words}" in err
    assert "Traceback" not in err


def test_absent_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(tmp_path / "absent.o")]) == 1
    assert "absent.o: No such file or directory" in capsys.readouterr().err


def test_damaged_objects_are_read_or_refused(guard: Path) -> None:
    """Bytes changed and files cut short at random places: an answer or a clear error."""
    chance, whole = random.Random(4), guard.read_bytes()
    refused = []
    for number in range(400):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        # ELF puts its table of sections last: a damaged header must be tried on purpose.
        if number % 4 == 0:
            data[chance.randrange(4, 64)] = chance.randrange(256)
        elif number % 4 == 1:
            del data[chance.randrange(len(data)) :]
        try:
            summary(parse(guard, bytes(data)), lines=True)
        except FusebpfError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(str(guard) in message for message in refused)
