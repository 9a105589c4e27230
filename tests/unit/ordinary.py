# SPDX-License-Identifier: MIT
"""The command line as an ordinary user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NOBODY = 65534


def as_nobody(
    tmp_path: Path, *arguments: str | Path, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the CLI as an ordinary user, with a cache of theirs.

    The tree may lie where that user cannot go (a clone in /root): a bind mount in a namespace of
    its own brings it below `tmp_path`.
    """
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    cache, tree = tmp_path / "theirs", tmp_path / "tree"
    for path in (cache, tree):
        path.mkdir(exist_ok=True)
    os.chown(cache, NOBODY, NOBODY)
    root = Path(__file__).resolve().parents[2]
    python = tree / Path(sys.executable).relative_to(root)
    enter = """
        mount --bind "$1" "$2"
        shift 2
        exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
    """
    command = ["unshare", "--mount", "sh", "-ec", enter, "sh", str(root), str(tree)]
    return subprocess.run(
        [*command, str(python), "-m", "fusebpf.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, "FUSEBPF_CACHE": str(cache), "PYTHONPATH": str(tree)},
    )
