# SPDX-License-Identifier: MIT
"""A damaged token of an example is pointed at.

``FUSEBPF_CARETS`` sets how many damages are tried, 1,000 by default. What is found is what a reader
sees first: at least 95 of 100 have the caret of an error on the token, notes not counted.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.property.carets import Damage, damage, hit

COUNT = int(os.environ.get("FUSEBPF_CARETS", "1000"))
SEED = int(os.environ.get("FUSEBPF_SEED", "1"))


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # of the damaged sources
@pytest.mark.timeout(0 if "FUSEBPF_CARETS" in os.environ else 300)
def test_the_caret_is_on_the_damaged_token() -> None:
    rng = random.Random(SEED)
    missed: list[Damage] = []
    hits = notes = harmless = 0
    while hits + len(missed) < COUNT:
        made = damage(rng)
        outcome = None if made is None else hit(made)
        if made is None or outcome is None:
            harmless += 1
            assert harmless < 10 * COUNT, "the damage is too mild to mean anything"
        elif outcome == "here":
            hits += 1
        else:
            notes += outcome == "note"
            missed.append(made)
    for made in missed:
        print(f"\n{made.path.name}:{made.line}:{made.col}: {made.old} -> {made.new}")
    print(
        f"\n{hits} of {COUNT} carets on the token, {notes} in a note alone, "
        f"{harmless} damages without a mistake"
    )
    assert hits >= 0.95 * COUNT
