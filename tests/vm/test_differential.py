# SPDX-License-Identifier: MIT
"""Random operations give the same on a mount as on a bare directory.

FUSEBPF_DIFF_OPS is the number of operations for each lower file system; without it the run takes
a fixed time, on a fast machine less. FUSEBPF_DIFF_SEED is the first seed, FUSEBPF_DIFF_MOUNT the
kind of mount (twins.py) where that is not the test's own.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.differential.found import FOUND
from tests.differential.generate import generate
from tests.differential.lowers import LOWERS, lower
from tests.differential.observe import RULES
from tests.differential.registry import SPECS
from tests.differential.runner import Difference, compare
from tests.differential.script import Path, Script, Step, load
from tests.differential.shrink import keep, shrink
from tests.differential.twins import CONTINUE, DAEMON, POSTFILTER, UNFILTERED, Twins, twins
from tests.vm.limits import need_file_system

SECONDS = 12.0
# A fixed time reaches no seeds on a fast machine that a slow one never ran
ENOUGH = 10_000
OPERATIONS = int(os.environ.get("FUSEBPF_DIFF_OPS", "0"))
# Processes are slow in their first steps, but a fixed time ends between two scripts
LENGTH = 2000 if OPERATIONS else 500
SEED = int(os.environ.get("FUSEBPF_DIFF_SEED", "1"))
MOUNT = os.environ.get("FUSEBPF_DIFF_MOUNT", UNFILTERED)
PAIRS = [
    *((kind, MOUNT) for kind in LOWERS),
    *(("tmpfs", mount) for mount in (CONTINUE, POSTFILTER, DAEMON)),
]


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def pairs(request: pytest.FixtureRequest) -> Iterator[Twins]:
    need_file_system({"bindfs": "fuse"}.get(request.param[0], request.param[0]))
    with twins(*request.param) as made:
        yield made


def test_there_are_many_kinds() -> None:
    assert len(SPECS) >= 60


@pytest.mark.parametrize("script", FOUND.values(), ids=FOUND.keys())
def test_found_once(pairs: Twins, script: Script) -> None:
    found = pairs.attempt(pairs.fitting(script))
    assert found is None, str(found)


def test_a_difference_is_found_shrunk_and_kept() -> None:
    """Of a side that refuses all changes, one step and its simplest arguments are left."""

    def attempt(script: Script) -> Difference | None:
        with lower("tmpfs") as one, lower("tmpfs") as two:
            subprocess.run(["mount", "-o", "remount,ro", two], check=True)
            return compare((one, one), (two, two), script, RULES["tmpfs"])

    script = [
        Step("umask", 1000, (0o22,)),
        Step("mkdir", 1000, (Path(-1, "./b"), 0o755)),
        Step("stat", 0, (Path(-1, "b"), True)),
    ]
    found = attempt(script)
    assert found is not None
    assert (found.index, found.kind, found.bare, found.mount) == (1, "mkdir", "EACCES", "EROFS")
    small = shrink(script, found, attempt, seconds=60)
    assert small == [Step("mkdir", 0, (Path(-1, "b"), 0))]
    file = keep(small, found, "tmpfs", UNFILTERED, 0)
    assert load(file)["SCRIPT"] == small
    file.unlink()


@pytest.mark.timeout(0 if OPERATIONS else 300)
def test_as_on_the_bare_twin(pairs: Twins) -> None:
    begin = time.monotonic()
    done, seed = 0, SEED
    # A step is dozens of requests, each answered by Python
    length = LENGTH // 5 if pairs.mount == DAEMON else LENGTH
    while done < (OPERATIONS or ENOUGH) and (OPERATIONS or time.monotonic() < begin + SECONDS):
        script = pairs.fitting(generate(seed, length))
        found = pairs.attempt(script)
        if found is not None:
            # Long scripts take long to shrink
            seconds = 300 if OPERATIONS else 100
            small = shrink(script, found, pairs.attempt, seconds=seconds)
            last = pairs.attempt(small) or found
            file = keep(small, last, pairs.lower, pairs.mount, seed)
            pytest.fail(f"seed {seed}: {last}\n{file}\n{file.read_text()}", pytrace=False)
        done += length
        seed += 1
        if OPERATIONS and done % (10 * length) == 0:
            print(f"{done} of {OPERATIONS} operations equal", flush=True)
    rate = done / (time.monotonic() - begin)
    print(f"{done} operations of {len(SPECS)} kinds, {rate:.0f}/s, seeds {SEED} to {seed - 1}")
    assert done
