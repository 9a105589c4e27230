# SPDX-License-Identifier: MIT
"""Check that every file named on stdin (NUL-separated) begins with its licence."""

from __future__ import annotations

import sys
from pathlib import Path

# Files whose form has no comments, and the licence texts themselves.
_EXEMPT_SUFFIXES = {".json", ".typed", ".out", ".txt.gz", ".box", ".series"}
_EXEMPT_DIRECTORIES = {"LICENSES"}
_EXEMPT_TREES = ("tests/golden/",)


def expected(path: Path) -> str:
    """Return the licence of a file, by the folder it lies in; BPF programs anywhere are dual."""
    if path.name.endswith(".bpf.c"):
        return "GPL-2.0-only OR MIT"
    return {"kernel": "GPL-2.0-only", "bpf": "GPL-2.0-only OR MIT"}.get(path.parts[0], "MIT")


def complaint(path: Path) -> str | None:
    """Return what is wrong with the file's first lines, or None."""
    data = path.read_bytes()
    if not data or b"\0" in data:
        return None
    lines = data.decode(errors="replace").splitlines()[:2]
    tag = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
    wanted = expected(path)
    stated = tag.partition("SPDX-License-Identifier: ")[2].removesuffix("-->").removesuffix("*/")
    if stated.strip() == wanted:
        return None
    return f"{path}: line 1 must be `SPDX-License-Identifier: {wanted}`, in a comment"


def main() -> int:
    """Print every complaint; 1 when there is any."""
    names = [name for name in sys.stdin.read().split("\0") if name]
    complaints = []
    for name in names:
        path = Path(name)
        if path.suffix in _EXEMPT_SUFFIXES or path.parts[0] in _EXEMPT_DIRECTORIES:
            continue
        if name.startswith(_EXEMPT_TREES) or not path.is_file():
            continue
        if said := complaint(path):
            complaints.append(said)
    for said in complaints:
        print(said)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
