# SPDX-License-Identifier: MIT
"""Replay a script in the guest: `make replay SCRIPT=FILE [LOWER=KIND] [MOUNT=KIND]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

from tests.differential.lowers import LOWERS
from tests.differential.script import Script, load
from tests.differential.twins import MOUNTS, UNFILTERED, twins


def main() -> int:
    """0: equal; 1: the first difference was printed; 2: there is no script."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("script", type=Path, help="a file that sets SCRIPT, a list of Steps")
    parser.add_argument("--lower", choices=LOWERS, help="default: LOWER of the file, or tmpfs")
    parser.add_argument("--mount", choices=MOUNTS, help="default: MOUNT of the file, or unfiltered")
    asked = parser.parse_args()
    if not asked.script.is_file():
        parser.error(f"no file {asked.script}: give one in this tree")
    names = load(asked.script)
    if "SCRIPT" not in names:
        parser.error(f"{asked.script} sets no SCRIPT, a list of Steps")
    lower = asked.lower or str(names.get("LOWER", "tmpfs"))
    mount = asked.mount or str(names.get("MOUNT", UNFILTERED))
    script = cast(Script, names["SCRIPT"])
    with twins(lower, mount) as pairs:
        found = pairs.attempt(script)
    print(f"{len(script)} steps on {lower}, {mount}: {found or 'no difference'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
