# SPDX-License-Identifier: MIT
"""The documents say what is true: their code compiles, their commands are taken, their links lead
somewhere.

What a block does is asked elsewhere: tests/vm/test_tutorial.py follows the tutorial,
tests/e2e/test_readme.py types what the README begins with, tests/vm/test_attach_daemon.py what
docs/daemon.md has, tests/unit/test_mistakes.py applies each edit of docs/errors.md,
tests/unit/json_schemas.py holds the commands to docs/json.md.
"""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from fusebpf.build import compile_file
from fusebpf.cli import cli
from fusebpf.daemon import Daemon
from tests.unit.documents import PAGES, ROOT, Block, blocks, python_blocks, steps, words

HEAD = """
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *
filters = FilterSet("documented")
"""

NO_FILTERS = {
    "README.md": 1,  # attaches: its calls are those of tests/vm/test_filters_examples.py
    "docs/commands.md": 1,  # run by tests/vm/test_attach.py
    "docs/daemon.md": 2,  # a daemon, made below; its restart: tests/vm/test_daemon_kept.py
    "docs/testing-filters.md": 1,  # tests: run by tests/unit/test_testing_plugin.py
    "docs/tutorial.md": 1,  # tests: run by tests/vm/test_tutorial.py
}
"""How many Python blocks of a page hold no filter, and why."""

NO_COMMANDS = {
    "docs/guard.md": 2,  # a file of rules: tests/unit/test_guard_rules.py; a line of guard audit
    "docs/containers.md": 1,  # other programs': tests/vm/test_containers.py starts them
    "docs/language.md": 2,  # what fusebpf prints
    "docs/mounting.md": 1,  # a line of fstab
    "docs/testing-filters.md": 2,  # what fusebpf test prints: tests/unit/test_testing_plugin.py
}
"""How many other blocks of a page are no commands."""

OTHER_PROGRAMS = {
    "apt-get": 2,  # installs Debian packages
    "export": 1,  # of the shell
    "ln": 1,  # links the helper of mount(8) into /sbin
    "mount": 5,  # its options are asked of the helper in tests/vm/test_mounting.py
    "umount": 1,
    "kernel/build.py": 4,  # their lines of kernel/README.md: run by make
    "kernel/image.py": 3,
    "kernel/port.py": 1,
    "cd": 1,  # into vagrant/
    "vagrant": 3,
}
"""Lines that name a program of others, or a script whose arguments are not asked here."""

PLACEHOLDERS = {"S": "1", "N": "1", "K": "stock", "PURPOSE": "compile", "OPTIONS": ""}
"""What stands for a number or a choice where the documents show how a command is written."""


def named(page: Path) -> str:
    """A page as the tables above name it."""
    return str(page.relative_to(ROOT))


def holds_filters(text: str) -> bool:
    """Whether a Python block makes filters, or parts of them."""
    return re.search(r"^@\w+\.|FilterSet\(|^\w+ = filters\.", text, re.MULTILINE) is not None


FILTER_BLOCKS = [
    pytest.param(block, id=block.where)
    for page in PAGES
    for block in blocks(page)
    if block.language == "python" and holds_filters(block.text)
]


@pytest.mark.parametrize("block", FILTER_BLOCKS)
def test_blocks_with_filters_compile(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "documented.py"
    # A block that begins with imports is a whole file.
    whole = "import FilterSet" in block.text or ", FilterSet" in block.text
    path.write_text(block.text if whole else HEAD + block.text)
    assert compile_file(path).c_source


def test_the_blocks_without_filters_are_those_known() -> None:
    found: dict[str, int] = {}
    for page in PAGES:
        for text in python_blocks(page):
            compile(text, named(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if not holds_filters(text):
                found[named(page)] = found.get(named(page), 0) + 1
    assert found == NO_FILTERS


def test_the_daemon_of_its_page_can_be_made() -> None:
    text, _kept = python_blocks(ROOT / "docs/daemon.md")
    tree = ast.parse(text)
    tree.body = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom | ast.ClassDef)]
    made: dict[str, object] = {}
    exec(compile(tree, "docs/daemon.md", "exec"), made)
    assert isinstance(made["Mine"], type)
    assert issubclass(made["Mine"], Daemon)


def test_the_first_filter_compiles_as_printed(tmp_path: Path) -> None:
    path = tmp_path / "guard.py"
    block = python_blocks(ROOT / "README.md")[0]
    imported = re.findall(r"\w+", " ".join(re.findall(r"^from \S+ import (.*)$", block, re.M)))
    assert [name for name in imported if len(re.findall(rf"\b{name}\b", block)) < 2] == []
    path.write_text(block)
    compiled = compile_file(path)
    assert [entry.hook for entry in compiled.fset.filters] == ["lookup_prefilter", "open_prefilter"]


def test_the_tutorial_has_files_and_commands() -> None:
    todo = steps(ROOT / "docs/tutorial.md")
    assert sum(not step.command for step in todo) == 3
    tried = {step.command.split()[1] for step in todo if step.command.startswith("fusebpf ")}
    assert tried == {"new", "compile", "test", "attach", "show", "replace", "detach", "ls"}


def command_blocks() -> list[Block]:
    """The blocks that are neither Python nor data: commands, with or without their answers."""
    kinds = ("", "sh", "console")
    return [block for page in PAGES for block in blocks(page) if block.language in kinds]


def takes(arguments: list[str], where: str, *, whole: bool = True) -> None:
    """Fail unless `fusebpf` takes these arguments. Unless `whole`, the positional ones may miss."""
    command: click.Command = cli
    context = click.Context(cli, info_name="fusebpf")
    while isinstance(command, click.Group) and arguments:
        name, *arguments = arguments
        found = command.get_command(context, name)
        assert found is not None, f"{where}: no command {name}"
        command, context = found, click.Context(found, parent=context, info_name=name)
    if not arguments and not whole:
        return
    try:
        command.make_context(context.info_name, arguments, parent=context.parent)
    except click.exceptions.Exit:
        pass  # --help
    except click.UsageError as error:
        bare = all(word.startswith("-") for word in arguments)
        if whole or not bare or not isinstance(error, click.MissingParameter):
            pytest.fail(f"{where}: {' '.join(arguments)}: {error.format_message()}")


def make_takes(arguments: list[str], where: str) -> None:
    """Fail unless the Makefile has these targets and variables, and the files they name exist."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in arguments:
        name, given, value = word.partition("=")
        wanted = rf"^{name} \?=" if given else rf"^{name}:"
        assert re.search(wanted, text, re.MULTILINE), f"{where}: make has no {name}"
        if name == "T":
            assert (ROOT / value).exists(), f"{where}: no {value}"


def python_takes(arguments: list[str], where: str) -> None:
    """Fail unless the module that is run exists, and the tests that pytest gets."""
    if arguments[0] != "-m":
        assert (ROOT / arguments[0]).exists(), f"{where}: no {arguments[0]}"
        return
    assert find_spec(arguments[1]) is not None, f"{where}: no module {arguments[1]}"
    for word in arguments[2:]:
        if word.startswith("tests/"):
            assert (ROOT / word).exists(), f"{where}: no {word}"


CHECKS = {
    "fusebpf": takes,
    ".venv/bin/fusebpf": takes,
    "make": make_takes,
    "python": python_takes,
    ".venv/bin/python": python_takes,
}


def test_commands_in_blocks_are_taken() -> None:
    checked, others, unknown = 0, dict.fromkeys(OTHER_PROGRAMS, 0), dict.fromkeys(NO_COMMANDS, 0)
    for block in command_blocks():
        lines = block.commands()
        known = CHECKS.keys() | OTHER_PROGRAMS.keys()
        if block.language != "console" and not any(line.split()[0] in known for line in lines):
            unknown[named(block.page)] = unknown.get(named(block.page), 0) + 1
            continue
        for line in lines:
            for program, *arguments in words(line):
                if check := CHECKS.get(program):
                    check(arguments, block.where)
                    checked += 1
                elif block.language != "console":  # those of the tutorial are executed
                    others[program] = others.get(program, 0) + 1
    assert others == OTHER_PROGRAMS
    assert unknown == NO_COMMANDS
    assert checked > 30


def test_commands_in_the_text_are_taken() -> None:
    checked = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for shown in re.findall(r"`fusebpf ((?!COMMAND)[^`]+)`", text):
            plain = re.sub(r"\\\|\w+", "", shown)  # of choices the first
            arguments = [
                PLACEHOLDERS.get(word, word) for word in re.sub(r"[][…]", " ", plain).split()
            ]
            takes([word for word in arguments if word], f"{named(page)}: {shown}", whole=False)
            checked += 1
        for shown in re.findall(r"`make ([^`]+)`", text):
            for arguments in words(shown):
                make_takes(arguments, f"{named(page)}: {shown}")
            checked += 1
    assert checked > 60


def test_other_languages_of_blocks_are_data() -> None:
    languages = {block.language for page in PAGES for block in blocks(page)}
    assert languages == {"", "python", "sh", "console", "diff", "json", "toml"}


def anchors(page: Path) -> set[str]:
    """What a link can name of a page: its headings, as readers on the web spell them."""
    text = "\n".join(re.split(r"^```.*?^```$", page.read_text("utf-8"), flags=re.M | re.S))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=[named(page) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{page.name} links to {target}#{anchor}"


def test_the_site_has_every_page() -> None:
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted([*map(named, PAGES), "docs/help.md"])


def test_each_rule_of_the_kernel_part_has_the_tests_it_names() -> None:
    text = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
    table = text.partition("| rule | tests |\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert len(table) > 30
    for row in table:
        rule, cited = row.strip("| ").split(" | ")
        named = [
            (module, test)
            for module, tests in re.findall(r"(\w+): ((?:`test_\w+`(?:, )?)+)", cited)
            for test in re.findall(r"test_\w+", tests)
        ]
        assert named, rule
        for module, test in named:
            source = (ROOT / f"tests/vm/test_kernel_{module}.py").read_text(encoding="utf-8")
            assert f"\ndef {test}(" in source, (rule, module, test)
