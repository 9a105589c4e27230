# SPDX-License-Identifier: MIT
"""Objects of random filter sets, for the verifier of a guest.

python -m tests.property.objects DIRECTORY PROGRAMS [SEED]
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from fusebpf.build import BuildError, BuiltObject, build_compiled, compile_file
from tests.property.generator import FILTERS, Generator
from tests.property.harness import is_too_large
from tests.property.inputs import RandomChooser


def write_objects(directory: Path, programs: int, seed: int = 1) -> int:
    """Write `generated-SEED.o` and its source for each set; how many programs they have."""
    made = 0
    # clang is a process of its own
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for numbers in _batches(seed):
            if made >= programs:
                break
            for number, built in zip(numbers, pool.map(_build, numbers), strict=True):
                if built is not None and made < programs:
                    source, done = built
                    (directory / f"generated-{number}.py").write_text(source)
                    (directory / f"generated-{number}.o").write_bytes(done.data)
                    made += len(done.metadata.hooks)
    return made


def _batches(seed: int) -> Iterator[range]:
    size = 2 * (os.cpu_count() or 1)
    for first in count(seed, size):
        yield range(first, first + size)


def _build(number: int) -> tuple[str, BuiltObject] | None:
    """Source and object of a set; None when it is larger than a program may be."""
    generated = Generator(RandomChooser(number)).generate(FILTERS)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "generated.py"
        path.write_text(generated.source)
        try:
            return generated.source, build_compiled(compile_file(path), standins=False)
        except BuildError as error:
            if is_too_large(error):
                return None
            raise


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    print(f"{write_objects(target, *map(int, sys.argv[2:]))} programs in {target}")
