# SPDX-License-Identifier: MIT
"""Man pages, completion and the tables of docs/commands.md say what the commands are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fusebpf.cli import pages
from fusebpf.errors import EXIT_CODES, FusebpfError, PrivilegeError, UnsupportedKernelError
from tests.unit import json_schemas

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = dict(pages.commands())
LEAVES = {n: c for n, c in COMMANDS.items() if not isinstance(c.command, click.Group)}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `make man` wrote everything."""
    directory = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, "-m", "fusebpf.cli.pages", directory], check=True)
    return directory


def test_where_to_is_asked_for() -> None:
    command = [sys.executable, "-m", "fusebpf.cli.pages"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith("required: DIR\n")


def test_each_command_has_a_page(out: Path) -> None:
    written = {path.name for path in (out / "man").iterdir()}
    assert written == {f"{name.replace(' ', '-')}.1" for name in COMMANDS}
    assert {"fusebpf.1", "fusebpf-attach.1", "fusebpf-vm-run.1"} <= written
    text = (out / "man/fusebpf-attach.1").read_text().replace("\\-", "-")
    for words in (".B fusebpf attach", "FILTERS LOWER", "--set NAME=VALUE", "root is needed"):
        assert words in text


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_them_without_a_complaint(out: Path) -> None:
    for page in (out / "man").iterdir():
        done = subprocess.run(
            ["man", "--warnings", "-l", page],
            capture_output=True,
            text=True,
            env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        )
        assert (done.returncode, done.stderr) == (0, ""), page
        assert "SYNOPSIS" in done.stdout


def completed(out: Path, line: str) -> list[str]:
    """What bash offers at the end of a line."""
    script = f"""
        PATH={os.path.dirname(sys.executable)}:$PATH
        source {out}/completion/fusebpf
        COMP_WORDS=({line}''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}
        _fusebpf_completion fusebpf
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_bash_completes_commands_and_options(out: Path) -> None:
    offered = completed(out, "fusebpf ")
    assert {"attach", "replace", "inspect", "doctor"} <= set(offered)
    assert "--json" in completed(out, "fusebpf ls --")


def test_a_shell_is_offered_the_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    from fusebpf.runtime import mountinfo

    line = b"40 1 0:41 / /mnt/data rw - fuse_bpf /srv rw,link_id=7\n"
    line += b"41 1 0:42 / /mnt/other rw - tmpfs none rw\n"
    monkeypatch.setattr(mountinfo, "entries", lambda: list(mountinfo.parse(line)))
    for name in ("detach", "show", "replace", "events", "stats", "top", "trace"):
        context = COMMANDS[f"fusebpf {name}"]
        (argument,) = (p for p in context.command.params if p.name == "mountpoint")
        offered = [item.value for item in argument.shell_complete(context, "/mnt/")]
        assert offered == ["/mnt/data"], name


def test_table_of_exit_codes_is_that_of_the_code() -> None:
    section = (ROOT / "docs/commands.md").read_text().split("## Exit codes")[1].split("\n\n")[1]
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", section, re.M))
    assert rows == {str(code): text for code, text in EXIT_CODES.items()}
    for error in (FusebpfError, PrivilegeError, UnsupportedKernelError):
        assert error.exit_code in EXIT_CODES


def test_each_command_stands_in_the_docs() -> None:
    text = (ROOT / "docs/commands.md").read_text()
    for name in LEAVES:
        assert re.search(rf"`(fusebpf )?{name.removeprefix('fusebpf ')}\b", text), name


def test_each_json_option_has_its_schema() -> None:
    schemas = json_schemas.schemas()
    for name, context in LEAVES.items():
        options = {text for p in context.command.params for text in p.opts}
        if "--json" in options and " vm " not in name:
            assert name.removeprefix("fusebpf ") in schemas, name
