# SPDX-License-Identifier: MIT
"""Seeded faults of the compiler: does the comparison of the two runs see each of them?

``FUSEBPF_FAULTS`` sets how many are tried, "all" or 3 by default; ``FUSEBPF_SEED`` chooses which.
Those that nothing catches are named.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import tempfile
from pathlib import Path

import pytest

from fusebpf.build import compile_file
from fusebpf.compiler import ir
from fusebpf.testing.pyrun import PyRun
from tests.property.corners import CORNERS
from tests.property.faults import CAUGHT, FAULTS, ROOT, Fault, Known, compare, outcome
from tests.property.generator import FILTERS, Generator
from tests.property.inputs import Generated, RandomChooser, make_case

WANTED = os.environ.get("FUSEBPF_FAULTS", "3")
COUNT = len(FAULTS) if WANTED == "all" else int(WANTED)
SEED = int(os.environ.get("FUSEBPF_SEED", "1"))
#: Random sets of the corpus, filters of each, inputs of each filter.
SETS, INPUTS = 3, 20


def test_faults_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    """A fault that changes nothing would be caught by nothing."""
    assert len(FAULTS) >= 50
    assert len({(fault.file, fault.old) for fault in FAULTS}) == len(FAULTS)
    for name in {fault.file for fault in FAULTS}:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    for fault in FAULTS:
        path = tmp_path / fault.file
        sound = path.read_text(encoding="utf-8")
        fault.apply(tmp_path)
        assert path.read_text(encoding="utf-8") != sound
        path.write_text(sound, encoding="utf-8")


def known(generated: Generated, chooser: RandomChooser, inputs: int) -> Known:
    """A set with what the typed run of the sound compiler says of random inputs."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "generated.py"
        path.write_text(generated.source, encoding="utf-8")
        program = compile_file(path).result.ir
    assert isinstance(program, ir.Program)
    run = PyRun(program, generated.config)
    calls: list[tuple[str, object, object]] = []
    for function in program.filters:
        for _ in range(inputs):
            case = make_case(chooser, generated, function.hook or "")
            calls.append((function.name, case, run.run(function, case)))
    return Known(generated.source, generated.config, calls)


def corpus() -> list[Known]:
    """The set that shows what it computes, and random ones for what it leaves out."""
    chooser = RandomChooser(SEED)
    found = [known(CORNERS, chooser, 150)]
    for number in range(SETS):
        generated = Generator(RandomChooser(10_000 + SEED * SETS + number)).generate(FILTERS)
        found.append(known(generated, chooser, INPUTS))
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root (CAP_BPF)")
@pytest.mark.timeout(0 if "FUSEBPF_FAULTS" in os.environ else 600)
def test_faults_are_caught(tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    cases.write_bytes(pickle.dumps(corpus()))
    assert compare(cases) == "", "without a fault nothing is found"
    tried: list[Fault] = list(FAULTS)
    if len(FAULTS) > COUNT:
        tried = random.Random(SEED).sample(tried, COUNT)
    survivors = [fault for fault in tried if outcome(fault, cases) != CAUGHT]
    print(f"\n{len(tried) - len(survivors)} of {len(tried)} faults caught")
    assert not survivors
