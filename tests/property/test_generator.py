# SPDX-License-Identifier: MIT
"""What the generator writes is accepted, whatever it chooses: here, the costliest choices."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pytest

from fusebpf.abi import HOOKS
from fusebpf.build import compile_file
from tests.property import generator
from tests.property.generator import FILTERS, Generator
from tests.property.inputs import RandomChooser

T = TypeVar("T")


#: What takes longest, the first of them most of all.
LOOPS, SLOW = ("for", "entries"), ("map", "hash", "Tagged", "Pair", "has")


class Nesting(Generator):
    """Puts loops into loops wherever it can, and slow things into them."""

    def _pick(self, options: tuple[T, ...] | list[T]) -> T:
        loops: list[T] = [option for option in options if option in LOOPS]
        slow: list[T] = [option for option in options if option in SLOW]
        wanted: tuple[T, ...] | list[T] = loops or slow or options
        return super()._pick(wanted)


def test_loops_in_loops_over_entries_are_not_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a turn does must be cheap there: else the set is refused (E247)."""
    listings = [HOOKS["readdir_postfilter"]]
    monkeypatch.setattr(generator, "ALL_HOOKS", listings)
    monkeypatch.setattr(generator, "RICH_HOOKS", listings)
    path = tmp_path / "generated.py"
    nested = 0
    for number in range(12):
        generated = Nesting(RandomChooser(number), size=25).generate(FILTERS)
        path.write_text(generated.source)
        compile_file(path)
        nested += generated.counts["entries"] > 0 and generated.counts["for"] > 0
    assert nested > 5
