# SPDX-License-Identifier: MIT
"""`make bench`: what is compared with the kept counts, and that its filters compile."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fusebpf.abi import HOOKS
from fusebpf.build import compile_file

TREE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TREE / "scripts")
        yield importlib.import_module("bench")


def test_what_takes_more_than_its_band_is_told(bench: ModuleType) -> None:
    before = {"bind": {"stat": 1000, "unlink": 1000}, "guard": {"stat": 1000}}
    assert bench.grown(before, {"bind": {"stat": 1020, "unlink": 1040}, "guard": {"stat": 1}}) == []
    assert bench.grown(before, {"bind": {"stat": 1021, "unlink": 1041, "new": 5}, "new": {}}) == [
        "bind, stat: 1,000 were kept, 1,021 counted",
        "bind, unlink: 1,000 were kept, 1,041 counted",
    ]


def test_the_table_has_factors_of_the_bind_mount(bench: ModuleType) -> None:
    columns = {"bind": {"stat": 2000}, "guard": {"stat": 3000}}
    assert list(bench.table(columns))[2:] == ["| stat | 2,000 (1.00) | 3,000 (1.50) |"]


def test_the_page_has_the_kept_counts(bench: ModuleType) -> None:
    kept = json.loads(bench.KEPT.read_text())
    assert list(kept) == list(bench.COLUMNS)
    for line in bench.table(kept):
        assert line in bench.PAGE.read_text().splitlines()


@pytest.mark.parametrize("phases", [("pre",), ("pre", "post")])
def test_filters_of_every_hook_compile(
    bench: ModuleType, phases: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "every.py"
    file.write_text(bench.every_hook(phases))
    wanted = [h.name for h in HOOKS.values() if h.form_a and h.phase in phases]
    found = compile_file(file)
    assert sorted(hook.hook for hook in found.result.hooks) == sorted(wanted)
    assert found.warnings == ()
