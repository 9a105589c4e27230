# SPDX-License-Identifier: MIT
"""If it compiles it verifies, and it means what Python means: random filters, random inputs.

``FUSEBPF_PROGRAMS`` sets how many programs (filters) are generated; by default 500, or as many as
45 seconds allow once every hook was there. ``FUSEBPF_SEED`` sets which ones. A failure is shrunk
by hypothesis to the shortest row of choices that still shows it, and prints the source, both
outcomes and the generated C.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fusebpf.abi.model import Hook
from fusebpf.build import BuildError
from tests.property.generator import ALL_HOOKS, FILTERS, Generator
from tests.property.harness import compare, is_too_large
from tests.property.inputs import RandomChooser

PROGRAMS = int(os.environ.get("FUSEBPF_PROGRAMS", "500"))
#: A count that is asked for takes as long as it takes; else this many seconds.
SECONDS = float("inf") if "FUSEBPF_PROGRAMS" in os.environ else 45
SEED = int(os.environ.get("FUSEBPF_SEED", "1"))
CASES = 10
SETS_PER_ROUND = 10

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="loading BPF programs needs root (CAP_BPF)"
)


class BytesChooser:
    """Choices read from a row of bytes, two for each; 0 after its end."""

    def __init__(self, choices: bytes) -> None:
        self._choices = choices
        self._at = 0

    def below(self, count: int) -> int:
        """A number from 0 to ``count`` - 1."""
        word = self._choices[self._at : self._at + 2]
        self._at += 2
        return int.from_bytes(word, "big") % count


class Totals:
    """What a whole run generated."""

    def __init__(self) -> None:
        self.programs = 0
        self.too_large = 0
        self.pairs = 0
        self.lines = 0
        self.counts: Counter[str] = Counter()

    def missing_hooks(self) -> list[Hook]:
        """Hooks of the table that no program was generated for."""
        return [hook for hook in ALL_HOOKS if f"hook {hook.name}" not in self.counts]


def round_of_sets(totals: Totals, number: int, hooks: list[Hook]) -> None:
    """Generate, load and compare ``SETS_PER_ROUND`` sets, most filters for these hooks or any."""

    @seed(number)
    @settings(
        max_examples=SETS_PER_ROUND,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(choices=st.binary(min_size=2400, max_size=4800), inputs=st.integers(0, 2**32))
    def one_set(choices: bytes, inputs: int) -> None:
        generated = Generator(BytesChooser(choices), hooks=hooks).generate(FILTERS)
        try:
            pairs = compare(generated, RandomChooser(inputs), CASES)
        except BuildError as error:
            if not is_too_large(error):
                raise
            totals.too_large += 1
            return
        totals.pairs += pairs
        totals.programs += len(generated.filters)
        totals.lines += len(generated.source.splitlines())
        totals.counts.update(generated.counts)

    one_set()


@pytest.mark.timeout(0 if "FUSEBPF_PROGRAMS" in os.environ else 300)
def test_generated_filters_verify_and_both_runs_agree() -> None:
    totals = Totals()
    rounds = 0
    end = time.monotonic() + SECONDS
    while (
        totals.programs < PROGRAMS
        and (time.monotonic() < end or totals.missing_hooks())
        and rounds < 10_000
    ):
        # Those that were not there yet come soon, so that a slice of time has all
        round_of_sets(totals, SEED + rounds, totals.missing_hooks())
        rounds += 1
    print(f"\n{totals.programs} programs, {totals.pairs} runs, {totals.lines} lines")
    print(f"{totals.too_large} sets with a program larger than is possible")
    for what, count in sorted(totals.counts.items()):
        print(f"  {what}: {count}")
    assert not totals.missing_hooks(), "every hook of the table has been generated"
    assert totals.too_large * 1000 <= totals.programs, "hardly any is refused for its size"
