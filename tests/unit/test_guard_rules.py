# SPDX-License-Identifier: MIT
"""Files of rules: what they may hold, and what is said of one that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fusebpf.errors import FusebpfError
from fusebpf.guard.match import Matcher
from fusebpf.guard.outcomes import markdown
from fusebpf.guard.rules import Rules, RulesError, load, parse_text, presets
from fusebpf.guard.tables import parse_toml

PAGE = Path(__file__).resolve().parents[2] / "docs/guard.md"


def test_lines_are_rules() -> None:
    rules = parse_text(
        "# a comment\r\n\n  # one more\nhidden\t .env*\n"
        "read-only uid=1,2 gid=3 a b\\ \noption ignore-case\n",
        "rules",
    )
    assert [(rule.where, str(rule)) for rule in rules.rules] == [
        ("rules:4", "hidden .env*"),
        ("rules:5", "read-only uid=1,2 gid=3 a b\\ "),
    ]
    assert rules.ignore_case  # wherever it stands


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("user=1000\\ x", "user=1000 x"),
        ("a \\#b", "a #b"),
        ("a\\ #b", "a #b"),
        ("user\\=1000 x", "user=1000 x"),
        ("\\uid=1000 x", "uid=1000 x"),
        ("uid\\=1000 x", "uid=1000 x"),
        ("uid\\ =1000 x", "uid =1000 x"),
        ("uid\\:1000 x", "uid:1000 x"),
        ("x uid\\=1", "x uid=1"),
        ("x\\ uid=1", "x uid=1"),
        ("Part\\: 1 x", "Part: 1 x"),
        ("\\# x", "# x"),
        ("*.pem\\ *.key", "a.pem b.key"),
        ("a\\ /b\\ /", "a /b "),
        ("\\{a,b}", "{a,b}"),
        ("[{]a,b}", "{a,b}"),
        ("a=b", "a=b"),
        ("a#b", "a#b"),
        ("#a#", "#a#"),
        ("12:30*", "12:30.log"),
        ("Part: one", "Part: one"),
        ("fluid: x", "fluid: x"),
        ("a uid", "a uid"),
        ("My Documents/", "My Documents"),
        ("* - *.mp3", "me - it.mp3"),
        ("[0-9] *.mp3", "1 it.mp3"),
        (".a b", ".a b"),
        ("{a}", "{a}"),
    ],
)
def test_names_that_look_like_something_else_are_quoted(pattern: str, name: str) -> None:
    matcher = Matcher(parse_text(f"hidden {pattern}", "rules"), 0, 0)
    assert matcher.find(name.encode().split(b"/"), directory=True).state == "hidden"


def rejected(text: str, read: object = parse_text) -> str:
    assert callable(read)
    with pytest.raises(RulesError) as caught:
        read(text, "rules")
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_all_errors_are_shown_at_their_places() -> None:
    assert rejected("hidde .env\nhidden a\nhidden  src/[ab\n") == (
        "rules: 2 errors\n\n"
        "rules:1:1: error: 'hidde' is no state\n"
        "    1 | hidde .env\n"
        "      | ^^^^^\n"
        "help: did you mean 'hidden'?\n\n"
        "rules:3:13: error: '[' begins a class that is not closed\n"
        "    3 | hidden  src/[ab\n"
        "      |             ^^^\n"
        "help: write \\[ for a bracket in the name, or add the ]"
    )


@pytest.mark.parametrize(
    ("line", "place", "message", "help"),
    [
        (".env", 1, "'.env' is no state", "e.g. hidden .env"),
        ("hidden", 1, "hidden stands without a pattern", "e.g. hidden *.pem"),
        ("hidden /", 8, "the pattern has an empty component", "'*' is everything in it"),
        ("hidden a[b/c]d", 9, "'[' begins a class that is not closed", "write \\[ for a bracket"),
        ("hidden a//b", 10, "the pattern has an empty component", "one slash between two"),
        ("hidden ../x", 8, "'..' is no name that a path of the tree has", "/src/main.c"),
        ("hidden x\\", 9, "the pattern ends in a backslash", "write \\\\ for a backslash"),
        ("hidden [[:digits:]]", 9, "there is no class [:digits:]", "digit"),
        ("hidden [z-a]", 9, "the range z-a is empty", "the lower one first"),
        ("hidden [é]", 9, "a class holds single bytes", "a rule for each character"),
        ("hidden x\t", 9, "the pattern ends in a tab", "remove it"),
        ("deny uid=build x", 10, "'build' is no uid", "id -u NAME"),
        ("deny gid=1, x", 12, "a gid is missing", "gid=1000,1001"),
        ("deny uid=1 uid=2 x", 12, "uid= stands twice", "uid=1000,1001"),
        ("deny uid=4294967295 x", 10, "'4294967295' is no uid", "write numbers"),
        (f"deny uid={'9' * 5000} x", 10, "'9999", "write numbers"),
        ("hidden a\0b", 9, "the pattern has a NUL", "remove it"),
        (
            "deny user=1000 /payroll/",
            6,
            "there is no condition 'user'",
            "conditions are uid= and gid=",
        ),
        ("deny uid=1 gids=1 x", 12, "there is no condition 'gids'", "did you mean gid=?"),
        ("hidden *.key # keys", 14, "a comment has a line of its own", "put it above the rule"),
        ("hidden a\t#b", 10, "a comment has a line of its own", "backslash before it: '\\#'"),
        ("hidden # keys", 8, "a comment has a line of its own", "put it above the rule"),
        ("hidden uid =1000 x", 8, "'uid =' is no condition", "hidden uid=1000 *.pem"),
        ("hidden uid:1000 x", 8, "'uid:' is no condition", "without blanks"),
        ("hidden !uid=1000 x", 9, "'uid=' is no condition", "hidden uid=1000 !*.pem"),
        ("hidden not-uid=7 x", 8, "'not-uid=' is no condition", "hidden uid=1000 !*.pem"),
        ("hidden x uid=1000", 10, "'uid=' is no condition", "before the pattern"),
        ("deny user: 1000 x", 6, "there is no condition 'user'", "conditions are uid= and gid="),
        ("hidden *.pem *.key", 14, "a rule has one pattern", "write a rule for each"),
        ("hidden .env  .npmrc", 14, "a rule has one pattern", "a backslash before the blank"),
        ("hidden /src/*.pem /lib", 19, "a rule has one pattern", "write a rule for each"),
        (
            "hidden *.{pem,key}",
            10,
            "braces are no alternatives",
            "a rule for each: *.pem and *.key; in a name there is a backslash before the '{'",
        ),
        ("preset secret", 8, "there is no preset 'secret'", "did you mean 'secrets'?"),
        ("option ignorecase", 8, "there is no option 'ignorecase'", "did you mean 'ignore-case'?"),
    ],
)
def test_an_error_says_where_and_how_to_mend_it(
    line: str, place: int, message: str, help: str
) -> None:
    told = rejected(line)
    assert f"rules:1:{place}: error: {message}" in told
    assert help in told.partition("\nhelp: ")[2]


TOML = """version = 1
ignore_case = true

[[rule]]
preset = "vcs-read-only"

[[rule]]
state = "hidden"
pattern = "!*.pem"
uid = [1000]
"""


def test_toml_is_the_same() -> None:
    rules = parse_toml(TOML, "rules.toml")
    lines = parse_text("option ignore-case\npreset vcs-read-only\nhidden uid=1000 !*.pem", "rules")
    assert [str(rule) for rule in rules.rules] == [str(rule) for rule in lines.rules]
    assert rules.rules[-1].where == "rules.toml:7"
    assert rules.ignore_case


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("version = 1\n[[rule]\n", "rules:2:7", "this is no TOML"),
        ("[[rule]]\npreset = 'secrets'\n", "rules:1:1", "version is missing"),
        ("version = 2\n", "rules:1:1", "version is 2"),
        ("version = 1\nrules = []\n", "rules:1:1", "the file has no 'rules'"),
        ("version = 1\n[[rule]]\nstate = 'deny'\n", "rules:2:1", "the rule has no pattern"),
        (
            "version = 1\n\n[[rule]]\nstate='deny'\npattern='a'\nuid=5\n",
            "rules:3:1",
            "uid is 5",
        ),
        ("version = 1\n[[rule]]\nstate='no'\npattern='a'\n", "rules:2:1", "'no' is no state"),
        ("version = 1\n[[rule]]\nstate='deny'\npattern='[a'\n", "rules:2:1", "not closed"),
        ("version = 1\n[[rule]]\nstate='deny'\npattern='a'\nuid=[]\n", "rules:2:1", "empty list"),
        ("version = 1\nrule = [3]\n", "rules:1:1", "3 is no rule"),
        (f"version = {'9' * 5000}\n", "rules:", "this is no TOML"),
        (f"version = {'[' * 3000}\n", "rules:", "this is no TOML"),
        (
            "version = 1\n[[rule]]\nstate='deny'\npattern='{a,b/c}'\n",
            "rules:2:1",
            "braces are no alternatives",
        ),
        (
            'version = 1\n[[rule]]\nstate="deny"\npattern="a\\u0000b"\n',
            "rules:2:2",
            "the pattern has a NUL",
        ),
    ],
)
def test_errors_in_toml(text: str, place: str, message: str) -> None:
    told = rejected(text, parse_toml)
    assert re.search(rf"^{place}.*error: ", told, re.M)
    assert message in told


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FusebpfError, match=r"cannot read the rules .*: No such file"):
        load(tmp_path / "rules")


def preset(name: str) -> Rules:
    return parse_text(f"preset {name}", "rules")


def state(rules: Rules, path: str) -> str:
    names = tuple(name.encode() for name in path.strip("/").split("/"))
    return str(Matcher(rules, 0, 0).find(names, path.endswith("/")).state)


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_read(name: str) -> None:
    assert preset(name).rules


@pytest.mark.parametrize(
    ("name", "path", "wanted"),
    [
        ("secrets", "app/.env", "hidden"),
        ("secrets", "app/.env.production", "hidden"),
        ("secrets", "app/.env.example", "allow"),
        ("secrets", "home/me/.aws/credentials", "hidden"),
        ("secrets", "home/me/.docker/config.json", "hidden"),
        ("secrets", "home/me/.docker/contexts", "allow"),
        ("secrets", "src/main.py", "allow"),
        ("vcs-read-only", "lib/x/.git/config", "read-only"),
        ("vcs-read-only", "lib/x/.git", "read-only"),
        ("vcs-read-only", ".github/workflows/ci.yml", "allow"),
        ("media-only", "2024/May/a.JPG", "allow"),
        ("media-only", "2024/", "allow"),
        ("media-only", "2024/notes.txt", "hidden"),
    ],
)
def test_what_presets_say(name: str, path: str, wanted: str) -> None:
    assert state(preset(name), path) == wanted


def test_a_preset_is_overridden_by_what_follows() -> None:
    rules = parse_text("preset secrets\nhidden !test.pem\nread-only test.pem\n", "rules")
    assert state(rules, "test.pem") == "read-only"
    assert state(rules, "other.pem") == "hidden"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def test_the_rules_of_the_documents_are_taken() -> None:
    lines, toml = blocks(""), blocks("toml")
    assert len(lines) == len(toml) == 1
    rules = parse_text(lines[0], "docs/guard.md")
    assert state(rules, ".git/public.key") == "read-only"
    assert state(rules, "public.key") == "allow"
    assert parse_toml(toml[0], "docs/guard.md").rules


def test_the_table_of_the_documents_is_the_one() -> None:
    table = PAGE.read_text().partition("<!-- generated: outcomes -->\n")[2].partition("<!-- end")[0]
    assert table == markdown()
