# SPDX-License-Identifier: MIT
"""Which answers of lookup filters the kernel may keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fusebpf.build import compile_file
from fusebpf.cli.compile import compile_command

HEAD = """
from dataclasses import dataclass
from fusebpf import *
from fusebpf.constants import ENOENT
from fusebpf.types import u32, u64
filters = FilterSet("pure")
hits = filters.array("hits", value=u64, max_entries=4)
seen = filters.hash("seen", key=u32, value=u64, max_entries=4)
limit = filters.config("limit", u32, 3)

@dataclass
class Told:
    uid: u32

told = filters.events("told", Told)

def secret(name: Name) -> bool:
    for i in range(len(name)):
        if name[i] == 0x2E:
            return name[i:] == ".pem"
    return False

def count(name: Name) -> bool:
    hits[0] += 1
    return name == "x"

@filters.lookup.pre
def look(ctx: Context, name: Name):
"""


def impure(tmp_path: Path, body: str) -> str | None:
    path = tmp_path / "pure.py"
    path.write_text(HEAD + "\n".join(f"    {line}" for line in body.splitlines()) + "\n")
    (hook,) = compile_file(path).result.hooks
    return hook.impure


@pytest.mark.parametrize(
    "body",
    [
        "return CONTINUE",
        "pass",
        "return -ENOENT if secret(name) or len(name) > limit else CONTINUE",
        "x = len(name) * 3\nreturn refuse(x) if name.glob('*.p?m') else None",
    ],
)
def test_answers_by_the_name_alone(tmp_path: Path, body: str) -> None:
    assert impure(tmp_path, body) == ""


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return -ENOENT if ctx.uid else CONTINUE", "ctx.uid (line 29)"),
        ("x = ctx.ktime\nreturn -ENOENT if x % 2 else CONTINUE", "ctx.ktime (line 29)"),
        ("return -ENOENT if hits[1] else CONTINUE", "map hits (line 29)"),
        ("return -ENOENT if count(name) else CONTINUE", "map hits (line 24)"),
        ("if name == 'x':\n    told.emit(Told(3))", "it sends events told (line 30)"),
        ("if name == 'x':\n    ctx.tag = 3", "it sets ctx.tag (line 30)"),
        ("found = seen.get(3)\nreturn", "map seen (line 29)"),
        (
            "return POSTFILTER if name == 'x' else CONTINUE",
            "it leaves the answer to a postfilter, the daemon or the default filter (line 29)",
        ),
    ],
)
def test_what_an_answer_depends_on_besides_the_name(tmp_path: Path, body: str, why: str) -> None:
    assert impure(tmp_path, body) == why


def test_a_verdict_of_a_joined_filter_counts(tmp_path: Path) -> None:
    path = tmp_path / "pure.py"
    visible = "\n@filters.visible\ndef shown(ctx: Context, name: Name) -> bool:\n    return True\n"
    path.write_text(HEAD + "    verdict = POSTFILTER\n    return verdict\n" + visible)
    impure = [h.impure for h in compile_file(path).result.hooks if h.hook == "lookup_prefilter"]
    assert impure[0] is not None
    assert impure[0].startswith("it leaves the answer to a postfilter")


def test_only_pure_filters_tell_the_kernel_to_keep_their_answers(tmp_path: Path) -> None:
    path = tmp_path / "pure.py"
    path.write_text(HEAD + "    return -ENOENT if secret(name) else CONTINUE\n")
    assert "fusebpf_keep_answer(ctx);" in compile_file(path).c_source
    path.write_text(HEAD + "    return -ENOENT if ctx.gid else CONTINUE\n")
    assert "fusebpf_keep_answer" not in compile_file(path).c_source


def test_explain_says_so(tmp_path: Path) -> None:
    path = tmp_path / "pure.py"
    path.write_text(HEAD + "    return -ENOENT if secret(name) or ctx.gid else CONTINUE\n")
    done = CliRunner().invoke(compile_command, [str(path), "--explain"])
    assert done.exit_code == 0
    first, second = done.output.splitlines()
    assert first.startswith("look (lookup_prefilter, line 28): at most 255 loop turns, about ")
    assert second.endswith("for more than the name decides: ctx.gid (line 29)")
    assert not list(tmp_path.glob("*.o"))
