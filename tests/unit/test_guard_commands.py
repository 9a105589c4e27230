# SPDX-License-Identifier: MIT
"""`fusebpf guard explain` and `guard lint`, on a plain tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusebpf.cli import run
from tests.unit import json_schemas
from tests.unit.documents import ROOT

RULES = """read-only *
hidden *.key
hidden !pub.key
deny /payroll/
deny uid=7 /notes
empty /log/
hidden build/
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree, as the current directory, with rules beside it."""
    top = tmp_path / "tree"
    for name in ("payroll/may", "build/x", "src/a.key", "src/pub.key", "log/today", "notes"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    (tmp_path / "rules").write_text(RULES)
    monkeypatch.chdir(top)
    return top


def out(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(["guard", *arguments, "--rules", "../rules"]) == status
    return capsys.readouterr().out


def test_a_path_is_explained(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "explain", "src/a.key") == (
        "src/a.key: hidden\n"
        "  by ../rules:2: hidden *.key\n"
        "  before ../rules:1: read-only *\n"
        "  listed    no\n"
        "  stat      ENOENT\n"
        "  read      ENOENT\n"
        "  write     ENOENT\n"
        "  execute   ENOENT\n"
        "  readlink  ENOENT\n"
        "  getxattr  ENOENT\n"
        "  setattr   ENOENT\n"
        "  setxattr  ENOENT\n"
        "  create    ENOENT\n"
        "  link      ENOENT\n"
        "  rename    ENOENT\n"
        "  remove    ENOENT\n"
    )


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    told = json.loads(out(capsys, "explain", "--json", *arguments))
    json_schemas.check("guard explain", told)
    assert isinstance(told, list)
    return told


def test_stars_that_nearly_match_take_no_time(tree: Path) -> None:
    name = "-" * 250
    (tree.parent / "rules").write_text("hidden " + "*-" * 20 + "backup\nhidden *.key\n")
    command = [sys.executable, "-m", "fusebpf.cli", "guard", "explain", "--rules", "../rules"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, f"./{name}"], cwd=tree, env=environment, stdout=subprocess.PIPE, timeout=60
    )
    assert done.stdout.startswith(f"{name}: allow\n".encode())


def test_directories_bar_the_way(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    denied, empty, hidden, file = explained(
        capsys, "payroll/may", "log/today", "build/", "new/build"
    )
    assert (denied["state"], denied["above"]) == ("deny", "payroll")
    assert (empty["state"], empty["above"]) == ("hidden", "log")
    assert (hidden["state"], file["state"]) == ("hidden", "read-only")
    operations = denied["operations"]
    assert isinstance(operations, dict)
    assert operations["stat"] == "EACCES"  # which has to look it up in there


def test_someone_else_is_asked_for(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = [explained(capsys, "notes", "--uid", str(uid))[0]["state"] for uid in (6, 7)]
    assert states == ["read-only", "deny"]


def test_the_tree_may_be_elsewhere(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree.parent / "link").symlink_to(tree)
    monkeypatch.chdir(tree / "src")
    (tree / "rules").write_text(RULES)  # ../rules from there
    for top in ("..", str(tree), str(tree.parent / "link"), "../../link"):
        assert explained(capsys, "pub.key", "--tree", top)[0]["path"] == "src/pub.key"


def test_the_path_may_lead_by_the_link_to_the_tree(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree.parent / "link").symlink_to(tree)
    (told,) = explained(capsys, "../link/src/a.key", "--tree", "../link")
    assert (told["path"], told["links"]) == ("src/a.key", [])


@pytest.mark.parametrize(
    ("link", "target", "path", "found", "state"),
    [
        ("lnk", "build", "lnk/x", "build/x", "hidden"),
        ("src/lnk", "../build", "src/lnk/x", "build/x", "hidden"),
        ("lnk", "{tree}/payroll", "lnk/may", "payroll/may", "deny"),
        ("lnk", "/{tree}/payroll", "lnk/may", "payroll/may", "deny"),
        ("lnk", "../{tree.name}/log", "lnk/", "log", "empty"),
        ("lnk", "src", "lnk/../notes", "notes", "read-only"),
        ("build/lnk", "../src", "build/lnk/x", "build/lnk/x", "hidden"),  # nobody gets that far
        ("a.key", "src", "a.key/x", "a.key/x", "hidden"),
    ],
)
def test_links_are_followed(
    tree: Path,
    capsys: pytest.CaptureFixture[str],
    link: str,
    target: str,
    path: str,
    found: str,
    state: str,
) -> None:
    (tree / link).symlink_to(target.format(tree=tree))
    (told,) = explained(capsys, path)
    assert (told["path"], told["state"]) == (found, state)
    assert told["links"] == ([link] if found != path else [])


def test_links_are_told_of(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "lnk").symlink_to("build")
    (tree / "away").symlink_to("/etc")
    assert out(capsys, "explain", "lnk/x").startswith(
        "build/x: hidden, as build is\n  reached by the symbolic link lnk\n  by ../rules:7: hidden"
    )
    assert out(capsys, "explain", "lnk").startswith(
        "lnk: read-only\n  the symbolic link itself; build has its own state\n  by ../rules:1: "
    )
    assert explained(capsys, "lnk")[0]["target"] == "build"
    assert run(["guard", "explain", "--rules", "../rules", "away/passwd"]) == 2
    assert "leads out of the tree, to /etc/passwd, by the symbolic link away" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["/etc"], "/etc is not in the tree"),
        (["."], "the root of the tree has no rule"),
        (["x", "--tree", "notes"], "the tree notes is not a directory"),
        (["x", "--tree", "no/such"], "cannot reach the tree no/such: No such file or directory"),
    ],
)
def test_what_cannot_be_explained(
    tree: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert run(["guard", "explain", "--rules", "../rules", *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert told in error
    assert "help: " in error


def test_a_path_need_not_be_in_reach(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "loop").symlink_to("loop")
    for path in ("loop/x", "n" * 300, "notes/x"):
        assert explained(capsys, path)[0]["state"] == "read-only"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["explain", "x"], "cannot reach the tree ."),
        (["explain", "--tree", "/tmp", "/etc/passwd"], "/etc/passwd is not in the tree /tmp"),
        (["explain", "--tree", "/tmp", "x"], "the current directory is not there any more"),
        (["lint"], "cannot reach the tree ."),
    ],
)
def test_a_directory_that_is_gone_is_told(
    tree: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    told: str,
) -> None:
    gone = tree / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    name, *rest = command
    assert run(["guard", name, "--rules", str(tree.parent / "rules"), *rest]) in (1, 2)
    assert told in capsys.readouterr().err


def test_rules_that_are_wrong_end_with_3(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "bad").write_text("hide x\n")
    assert run(["guard", "lint", "--rules", "bad"]) == 3
    assert "bad:1:1: error: 'hide' is no state" in capsys.readouterr().err


def lint(tree: Path, capsys: pytest.CaptureFixture[str], rules: str) -> list[tuple[str, str]]:
    (tree.parent / "rules").write_text(rules)
    run(["guard", "lint", "--rules", "../rules", "--json"])
    found = json.loads(capsys.readouterr().out)
    json_schemas.check("guard lint", found)
    return [(f["kind"], f["where"].removeprefix("../rules:")) for f in found]


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ("hidden *.key\nhidden !pub.key\n", []),
        ("hidden src/a.key\nhidden *.key\n", [("shadowed", "1")]),
        ("hidden /src/*.key\ndeny /src/*.key\n", [("shadowed", "1")]),
        ("hidden *.key\ndeny *\ndeny !pub.key\n", []),  # it counts where deny is taken back
        ("hidden uid=7 *.key\nhidden uid=7,8 *.key\n", [("shadowed", "1")]),
        ("hidden *.key\nhidden uid=7 *.key\n", []),
        ("hidden src\nhidden src/\nread-only *.key", []),
        ("hidden build/\nallow build/x\nhidden *.key\n", [("unreachable", "2")]),
        ("hidden uid=7 build/\nallow build/x\nhidden *.key\n", []),
        ("hidden *.key\nhidden *.pem\n", [("unmatched", "2")]),
        ("preset vcs-read-only\nhidden *.key\n", []),
        ("allow /src\n", []),
        ("hidden /notes\n", [("secret", "src/a.key"), ("secret", "src/pub.key")]),
    ],
)
def test_findings(
    tree: Path,
    capsys: pytest.CaptureFixture[str],
    rules: str,
    found: list[tuple[str, str]],
) -> None:
    assert lint(tree, capsys, rules) == found


def test_lint_ends_with_1_when_it_finds_something(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert out(capsys, "lint") == ""
    (tree / "notes").unlink()
    assert out(capsys, "lint", status=1) == (
        "../rules:5: `deny uid=7 /notes` matches nothing in the tree [unmatched]\n"
    )
