# SPDX-License-Identifier: MIT
"""If it compiles it verifies, and it means what Python means: random filters, random inputs.

``FUSEBPF_PROGRAMS`` sets how many programs (filters) are generated, 500 by default. Failures are
shrunk by hypothesis and print the source, both outcomes and the generated C.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.property.generator import ALL_HOOKS, Generator
from tests.property.harness import compare

PROGRAMS = int(os.environ.get("FUSEBPF_PROGRAMS", "500"))
CASES = 10

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="loading BPF programs needs root (CAP_BPF)"
)


class DataChooser:
    """Choices drawn by hypothesis."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def below(self, count: int) -> int:
        """A number from 0 to ``count`` - 1."""
        return self._data.draw(st.integers(0, count - 1)) if count > 1 else 0


class RandomChooser:
    """Choices from one drawn random generator: fast, still replayable by hypothesis."""

    def __init__(self, random: object) -> None:
        self._random = random

    def below(self, count: int) -> int:
        """A number from 0 to ``count`` - 1."""
        return int(self._random.randrange(count))  # type: ignore[attr-defined]


class Totals:
    """What a whole run generated."""

    def __init__(self) -> None:
        self.programs = 0
        self.pairs = 0
        self.lines = 0
        self.counts: Counter[str] = Counter()


@pytest.mark.timeout(3000)
def test_generated_filters_verify_and_both_runs_agree() -> None:
    totals = Totals()

    @settings(
        max_examples=PROGRAMS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one_set(data: st.DataObject) -> None:
        chooser = DataChooser(data)
        generated = Generator(chooser).generate()
        inputs = RandomChooser(data.draw(st.randoms(use_true_random=False)))
        totals.pairs += compare(generated, inputs, CASES)
        totals.programs += len(generated.filters)
        totals.lines += len(generated.source.splitlines())
        totals.counts.update(generated.counts)

    # A set holds several filters: repeat until enough programs have been seen.
    while totals.programs < PROGRAMS:
        one_set()
    print(f"\n{totals.programs} programs, {totals.pairs} runs, {totals.lines} lines")
    for what, count in sorted(totals.counts.items()):
        print(f"  {what}: {count}")
    hooks = {name for name in totals.counts if name.startswith("hook ")}
    assert len(hooks) == len(ALL_HOOKS), "every hook of the table has been generated"
