# SPDX-License-Identifier: MIT
"""Programs in a tree with hidden files say what they say in a copy that does not have them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusebpf.guard import mounting
from fusebpf.guard.rules import parse_text
from fusebpf.runtime import detach

RULES = "hidden .env\nhidden *.pem\nhidden !public.pem\nhidden /keys/\nhidden tracked-secret\n"
HIDDEN = (
    ".env",
    "src/.env",
    "src/server.pem",
    "keys/id_rsa",
    "keys/more/id_rsa.pub",
    "only-hidden/.env",
    "tracked-secret",
)
PLAIN = {
    "README": "read me\n",
    "Makefile": "all:\n\tcc src/main.c\n",
    "src/main.c": "int main(void) { return 0; }\n",
    "src/public.pem": "public\n",
    "src/deep/er/note": "secret of nobody\n",
    ".gitignore": "*.o\nkeys/\n",
    "src/main.o": "ignored\n",
    "untracked/new": "new\n",
}


@dataclass
class Trees:
    """A guarded project, and a copy of it without what is hidden."""

    mnt: Path
    copy: Path

    def say(self, command: str) -> list[str]:
        """What a shell command prints in each."""
        said = []
        for top in (self.mnt, self.copy):
            done = subprocess.run(
                ["sh", "-c", command], cwd=top, capture_output=True, text=True, errors="replace"
            )
            said.append(f"{done.stdout}{done.stderr}status {done.returncode}")
        return said


def git(top: Path, *arguments: str) -> None:
    author = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *author, *arguments], cwd=top, check=True, capture_output=True)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trees]:
    top = tmp_path_factory.mktemp("project")
    lower, copy, mnt = top / "lower", top / "copy", top / "mnt"
    for path, text in PLAIN.items():
        (lower / path).parent.mkdir(parents=True, exist_ok=True)
        (lower / path).write_text(text)
    (lower / "tracked-secret").write_text("secret\n")
    git(top, "init", "-q", str(lower))
    git(lower, "add", "README", "Makefile", ".gitignore", "src", "tracked-secret")
    git(lower, "commit", "-q", "-m", "first")
    (lower / "README").write_text("changed\n")
    for path in HIDDEN:
        (lower / path).parent.mkdir(parents=True, exist_ok=True)
        (lower / path).write_text("secret\n")
    subprocess.run(["cp", "-a", lower, copy], check=True)
    for path in HIDDEN:
        (copy / path).unlink()
    shutil.rmtree(copy / "keys")
    for directory, _, _ in os.walk(copy, topdown=False):
        was = os.stat(lower / os.path.relpath(directory, copy))
        os.utime(directory, ns=(was.st_atime_ns, was.st_mtime_ns))
    mnt.mkdir()
    mounting.mount(parse_text(RULES, "rules"), lower, mnt).close()
    yield Trees(mnt, copy)
    detach(mnt)


@pytest.mark.parametrize(
    "command",
    [
        "find . -printf '%P %y %m %U\\n' | sort",
        "find . -type f -size -2 | sort; find . -path ./.git -prune -o -type d -empty -print",
        "tar --sort=name -cf - . | sha256sum; tar --sort=name -cf - . | tar -tvf -",
        "grep -rl secret . | sort",
        "ls -A; echo .[!.]* *; ls .env; cat src/server.pem; cd keys",
        "test -e .env || stat -c %s keys/id_rsa",
        "git status --porcelain --ignored -uall; git diff --stat",
        "git clean -nxd; git add -n .; git ls-files -o",
        "git stash list; git check-ignore -v keys src/main.o .env",
        "git grep --no-index -l secret",
    ],
)
def test_programs_that_look(trees: Trees, command: str) -> None:
    guarded, bare = trees.say(command)
    assert guarded == bare
    assert re.search("[a-z]", bare.removesuffix("status 0"))  # it did say something


def test_programs_that_change(trees: Trees, tmp_path: Path) -> None:
    for command in (
        "git add -A && git write-tree",
        f"cp -a . {tmp_path}/$$ && cd {tmp_path}/$$ && find . -path ./.git -prune -o -print | sort",
        "mkdir -p build && cp src/*.pem build && ls build && rm -r build",
        "mv src lib && find lib | sort; ls lib/deep/er",
    ):
        guarded, bare = trees.say(command)
        assert guarded == bare
        assert guarded.endswith("status 0")
    # What is hidden is still there below, and nobody above can say so but by this.
    removed = subprocess.run(
        ["rm", "-r", "only-hidden"], cwd=trees.mnt, capture_output=True, text=True
    )
    assert "Directory not empty" in removed.stderr
