# SPDX-License-Identifier: MIT
"""`make docs`: the documents as a site in build/docs; mkdocs.yml says how it looks.

Laid out as in the tree, so that their links are the same; examples come along, and a page with the
help of every command, of which the man pages are made. A link, an anchor or a page of the table of
contents that leads nowhere is an error.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from fusebpf.cli.pages import commands

TREE = Path(__file__).resolve().parent.parent
SOURCE = TREE / "build/docs-source"
PATTERNS = ("*.md", "docs/*.md", "docs/kernels.json", "kernel/*.md", "examples/*.py")


def help_page() -> str:
    """What `--help` says of each command."""
    lines = ["# Help of each command", ""]
    for name, context in commands():
        lines += [f"## {name}", "", "```text", context.get_help().replace("\b", ""), "```", ""]
    return "\n".join(lines)


def main() -> int:
    """Lay out, build; return the status of mkdocs."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for pattern in PATTERNS:
        for path in TREE.glob(pattern):
            target = SOURCE / path.relative_to(TREE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    (SOURCE / "docs/help.md").write_text(help_page(), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build"]
    status = subprocess.run(command, cwd=TREE, check=False).returncode
    if status == 0:
        print(TREE / "build/docs/index.html")
    return status


if __name__ == "__main__":
    sys.exit(main())
