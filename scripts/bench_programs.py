# SPDX-License-Identifier: MIT
"""Guest part of the benchmarks: what whole programs cost on a small project, in nanoseconds.

Those are instructions where the clock goes by them. The programs themselves lie elsewhere; what
they print or make that is no part of the work goes to /dev/null or to a directory beside the mount.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

DIRECTORIES, FILES, SOURCES = 20, 20, 4
RUNS = 3
COMMANDS = {
    "git status": "git status --short",
    "find by size": "find . -type f -size +3",
    "tar of the project": 'tar -cf "$BESIDE/project.tar" .',
    "make, four C files": "make --silent --always-make",
    "sqlite, 500 rows": "rm -f rows.db && sqlite3 rows.db < rows.sql",
}
"""What is counted → the command, in the project."""

MAKEFILE = """\
program: {objects}
\tgcc -o $@ $^
%.o: %.c
\tgcc -O1 -c -o $@ $<
"""
SOURCE = """\
#include <stdio.h>
#include <string.h>
{head}
{{
	char text[64];

	snprintf(text, sizeof(text), "%d of %d", {number}, {of});
	return (int)strlen(text);
}}
"""


def make(project: Path) -> None:
    """Make what the programs work on: a git repository, all of it committed."""
    for directory in range(DIRECTORIES):
        there = project / f"part-{directory:02}"
        there.mkdir(parents=True)
        for number in range(FILES):
            (there / f"text-{number:02}").write_text(f"{directory} {number}\n" * (40 * number + 1))
    for number in range(SOURCES):
        head = "int main(void)" if not number else f"int part_{number}(void)"
        text = SOURCE.format(head=head, number=number, of=SOURCES)
        (project / f"source-{number}.c").write_text(text)
    objects = " ".join(f"source-{number}.o" for number in range(SOURCES))
    (project / "Makefile").write_text(MAKEFILE.format(objects=objects))
    rows = [
        "BEGIN; "
        + " ".join(f"INSERT INTO t VALUES ({n}, 'row {n}');" for n in range(begin, begin + 25))
        + " COMMIT;"
        for begin in range(0, 500, 25)
    ]
    lines = ["CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);", *rows, "SELECT sum(a) FROM t;"]
    (project / "rows.sql").write_text("\n".join(lines) + "\n")
    (project / ".gitignore").write_text("*.o\nprogram\nrows.db*\n")
    for path in project.rglob("*"):
        os.utime(path, (10**9, 10**9))  # what is as new as its index git reads again, each time
    name = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "--quiet"], ["add", "."], [*name, "commit", "--quiet", "-m", "all"]):
        subprocess.run(["git", *command], cwd=project, check=True)


def costs(project: Path) -> dict[str, int]:
    """Run each program some times, the first unseen; the least counts."""
    with tempfile.TemporaryDirectory() as beside:
        env = {**os.environ, "BESIDE": beside}

        def run(command: str) -> int:
            begin = time.monotonic_ns()
            subprocess.run(
                ["sh", "-c", command], cwd=project, check=True, stdout=subprocess.DEVNULL, env=env
            )
            return time.monotonic_ns() - begin

        def least(command: str) -> int:
            run(command)
            return min(run(command) for _ in range(RUNS))

        return {name: least(command) for name, command in COMMANDS.items()}
