# SPDX-License-Identifier: MIT
"""Helpers that are C functions of their own: which they are, and that they mean the same."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path

from fusebpf.build import compile_file
from fusebpf.testing import load
from tests.unit.runtime_objects import needs_root

SHARED = Path(__file__).parents[1] / "golden/accept/shared_helpers.py"
NAMES = [
    ".env",
    "id_rsa",
    ".netrc",
    "id_ed25519",
    "x.pem",
    "x.pkx",
    "x.pxx",
    "SECRETs",
    "a@b",
    "a.tmp",
    ".tmp",
    "a-b-v1",
    "a--v1",
    "-v1",
    ".git",
    "CVS",
    "_CVS",
    "CVS.orig",
    ".orig",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
    "x",
]


def _shared(path: Path) -> set[str]:
    return set(
        re.findall(r"^static __fusebpf_shared \w+ (\w+)\(", compile_file(path).c_source, re.M)
    )


def test_only_helpers_that_compare_whole_names_are_shared() -> None:
    assert _shared(SHARED) == {"key", "alike", "listed"}


def test_a_helper_that_few_filters_call_is_inlined(tmp_path: Path) -> None:
    path = tmp_path / "few.py"
    filters = "".join(
        f"@filters.{op}.pre\ndef {op}(ctx: Context, name: Name):\n    if key(name):\n"
        "        return -ENOENT\n\n"
        for op in ("lookup", "unlink", "rmdir")
    )
    source = (
        "from fusebpf import *\nfrom fusebpf.constants import *\nfilters = FilterSet('few')\n\n"
        "def key(name: Name) -> bool:\n    return name in {'.env', 'id_rsa', '.netrc'}\n\n"
        + filters
    )
    path.write_text(source)
    assert _shared(path) == {"key"}
    path.write_text(source.replace("    if key(name):\n", "    if ctx.uid:\n", 1))
    assert _shared(path) == set()
    path.write_text(source.replace("{'.env', 'id_rsa', '.netrc'}", "{'.env'}"))
    assert _shared(path) == set()


@needs_root
def test_both_runs_of_shared_helpers_agree() -> None:
    chance = random.Random(4)
    alphabet = "".join(sorted(set("".join(NAMES))))
    names = [*NAMES, "n" * 255, "s" * 251 + ".pem"]
    names += ["".join(chance.choices(alphabet, k=chance.randint(1, 12))) for _ in range(60)]
    refused = 0
    with load(SHARED, run="kernel") as filters:  # a difference between the runs is an error
        for name in names:
            for uid in (0, 7):
                for hook in ("lookup.pre", "mkdir.pre", "unlink.pre"):
                    refused += filters.call(hook, name=name, uid=uid).verdict.value < 0
        for old, new in pairwise(names):
            refused += filters.call("rename.pre", old_name=old, new_name=new).verdict.value < 0
        left = filters.call("readdir.post", entries=names[:32]).names
    assert refused > 50
    assert left
    assert len(left) < 32
