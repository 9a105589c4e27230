# SPDX-License-Identifier: MIT
"""The documents say what is true: their filters compile, their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fusebpf.build import compile_file

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("kernel/*.md")])

HEAD = """
from fusebpf import *
from fusebpf.constants import *
from fusebpf.types import *
filters = FilterSet("documented")
"""


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks(ROOT / "docs/language.md"))))
def test_blocks_of_the_language_page_compile(number: int, tmp_path: Path) -> None:
    path = tmp_path / "documented.py"
    path.write_text(HEAD + blocks(ROOT / "docs/language.md")[number])
    assert compile_file(path).c_source


def test_the_first_filter_compiles_as_printed(tmp_path: Path) -> None:
    path = tmp_path / "guard.py"
    path.write_text(blocks(ROOT / "README.md")[0])
    compiled = compile_file(path)
    assert [entry.hook for entry in compiled.fset.filters] == ["lookup_prefilter", "open_prefilter"]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


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
