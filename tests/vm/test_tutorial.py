# SPDX-License-Identifier: MIT
"""The tutorial, followed word by word: files are written, commands typed, answers compared."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from fusebpf.runtime import MountStatus, ls
from fusebpf.runtime.fsmount import umount
from tests.unit.documents import ROOT, Step, steps
from tests.vm.limits import SLOWNESS

END = "=== end of step ==="
SECONDS = 240
"""Several times what the commands need in an emulated guest."""


def typed(step: Step, top: str) -> str:
    """What the shell is given for a step; files are named from where the reader began."""
    if not step.command:
        return f"cat > {top}/{step.answer} << 'END OF FILE'\n{step.block.text}END OF FILE"
    return step.command


def is_as_told(answer: str, told: str) -> bool:
    """Whether an answer is the one of the page: `...` is anything, so is space between words."""
    parts = (re.escape(" ".join(part.split())) for part in told.split("..."))
    return re.fullmatch(r"\s*.*?\s*".join(parts), " ".join(answer.split()), re.DOTALL) is not None


def mounted_below(directory: Path) -> list[MountStatus]:
    """The mounts that a reader has made who works there."""
    return [entry for entry in ls() if directory in entry.mountpoint.parents]


def test_the_tutorial_ends_with_a_running_filter(tmp_path: Path) -> None:
    todo = steps(ROOT / "docs/tutorial.md")
    script = "".join(f"{typed(step, '$TOP')}\n: ${{TOP=$PWD}}\necho '{END}'\n" for step in todo)
    # The first command is the reader's `cd`
    assert todo[0].command.startswith("cd ")
    (tmp_path / "tutorial.sh").write_text(script)
    try:
        with (tmp_path / "answers").open("w+") as file:
            with suppress(subprocess.TimeoutExpired):  # what is missing is told below
                subprocess.run(
                    ["bash", tmp_path / "tutorial.sh"],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "TMPDIR": str(tmp_path)},
                    cwd="/",
                    timeout=SECONDS * SLOWNESS,
                )
            file.seek(0)
            answers = file.read().split(f"{END}\n")
        assert len(answers) == len(todo) + 1, "\n".join(answers)
        for step, answer in zip(todo, answers, strict=False):
            told = step.answer if step.command else ""
            assert is_as_told(answer, told), f"{step.block.where}: {step.command}\n{answer}"
        (mount,) = mounted_below(tmp_path)
        assert (mount.state, mount.filter_set) == ("active", "notes")
        assert os.listdir(mount.mountpoint) == ["todo.txt"]
        assert not (mount.mountpoint / "diary.private").exists()
        assert (mount.mountpoint.parent / "data/diary.private").exists()
    finally:
        for mount in mounted_below(tmp_path):
            umount(mount.mountpoint, lazy=True)
