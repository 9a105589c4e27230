# SPDX-License-Identifier: MIT
"""What scripts/demo.sh packs for the guest, whoever owns the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
NOBODY = 65534

FUSEBPF = """#!/bin/sh
# In place of the guest: keeps what it would get.
[ "$1" = compile ] || cp "$8/lower.tar" "$PACKED"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a tree of another user takes root")
@pytest.mark.parametrize("owner", [0, NOBODY])
@pytest.mark.parametrize("history", [True, False])
def test_packs_a_tree_of_any_owner(tmp_path: Path, owner: int, history: bool) -> None:
    tree = tmp_path / "tree"
    for name in ("scripts", ".venv/bin", "build", "fusebpf/build"):
        (tree / name).mkdir(parents=True)
    shutil.copy(TREE / "scripts/demo.sh", tree / "scripts")
    (tree / ".gitignore").write_text(".venv/\nbuild/\n!fusebpf/build/\n")
    for name in ("build/made", "fusebpf/build/source"):
        (tree / name).write_text(name)
    (tree / ".venv/bin/fusebpf").write_text(FUSEBPF)
    (tree / ".venv/bin/fusebpf").chmod(0o755)
    author = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    if history:
        for words in (("init", "-q"), ("add", "-A"), (*author, "commit", "-qm", "first")):
            subprocess.run(["git", *words], cwd=tree, check=True)
    subprocess.run(["chown", "-R", f"{owner}:{owner}", tree], check=True)

    packed = tmp_path / "packed.tar"
    # The documentation of this machine, a long copy, is left out.
    alone = 'mount -t tmpfs none /usr/share/doc && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", alone, "sh", tree / "scripts/demo.sh"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PACKED": str(packed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(packed) as archive:
        names = {member.name: member.uid for member in archive.getmembers()}
    assert set(names.values()) == {0}
    assert {"./.git/HEAD", "./fusebpf/build/source", "./doc"} <= set(names)
    assert not [name for name in names if name.startswith(("./build", "./.venv"))]
