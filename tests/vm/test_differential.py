# SPDX-License-Identifier: MIT
"""Random operations give the same on an unfiltered mount as on a bare directory.

FUSEBPF_DIFF_OPS is the number of operations for each lower file system; without it the run takes
a fixed time, on a fast machine less. FUSEBPF_DIFF_SEED is the first seed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf.runtime.fsmount import umount
from tests.differential.found import FOUND
from tests.differential.observe import RULES
from tests.differential.registry import SPECS
from tests.differential.runner import Difference, Script, compare, generate, report, shrink
from tests.vm import kernelkit as kit

SECONDS = 30.0
LENGTH = 250
# A fixed time reaches no seeds on a fast machine that a slow one never ran
ENOUGH = 15_000
OPERATIONS = int(os.environ.get("FUSEBPF_DIFF_OPS", "0"))
SEED = int(os.environ.get("FUSEBPF_DIFF_SEED", "1"))


class Twins:
    """A file system on which fresh pairs of a bare directory and a mount are made."""

    def __init__(self, kind: str, place: Path) -> None:
        self.rules = RULES[kind]
        self.place = place

    def attempt(self, script: Script) -> Difference | None:
        """Run a script on a fresh pair."""
        # Each in a directory of its own, so that ".." of the roots are alike too
        bare, lower, mount = (self.place / name / "root" for name in ("bare", "lower", "mount"))
        try:
            for directory in (bare, lower, mount):
                directory.mkdir(parents=True)
            with kit.mounted(lower, mount):
                return compare(bare, mount, script, self.rules)
        finally:
            for directory in (bare, lower, mount):
                shutil.rmtree(directory.parent)


@pytest.fixture(params=sorted(RULES))
def twins(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Twins]:
    directory = Path(tempfile.mkdtemp(prefix="fusebpf.", dir="/tmp"))
    if request.param == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "none", directory], check=True)
    else:
        subprocess.run(["modprobe", "loop"], check=False)
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(512 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, directory], check=True)
    directory.chmod(0o755)
    yield Twins(request.param, directory)
    umount(directory)
    directory.rmdir()


def test_there_are_many_kinds() -> None:
    assert len(SPECS) >= 60


@pytest.mark.parametrize("script", FOUND.values(), ids=FOUND.keys())
def test_found_once(twins: Twins, script: Script) -> None:
    found = twins.attempt(script)
    assert found is None, report(script, found)


@pytest.mark.timeout(0 if OPERATIONS else 300)
def test_as_on_the_bare_twin(twins: Twins) -> None:
    end = time.monotonic() + SECONDS
    done, seed = 0, SEED
    while done < (OPERATIONS or ENOUGH) and (OPERATIONS or time.monotonic() < end):
        script = generate(seed, LENGTH)
        found = twins.attempt(script)
        if found is not None:
            small = shrink(script, found, twins.attempt, seconds=100)
            last = twins.attempt(small) or found
            pytest.fail(f"seed {seed}: {report(small, last)}", pytrace=False)
        done += LENGTH
        seed += 1
    print(f"{done} operations of {len(SPECS)} kinds, seeds {SEED} to {seed - 1}")
    assert done
