# SPDX-License-Identifier: MIT
"""Texts about files that are no Python: each of these is refused with the text in syntax/."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusebpf.build.findings import findings
from fusebpf.compiler import render_all
from tests.golden.conftest import Golden

HERE = Path(__file__).parent / "syntax"

HEAD = """\
from fusebpf import *

filters = FilterSet("golden")


@filters.lookup.pre
"""

BEGIN = "def f(ctx: Context, name: Name):\n"

#: What stands where a filter should; what begins with an import is a whole file.
CASES = {
    "no_colon": "def f(ctx: Context, name: Name)\n    return CONTINUE\n",
    "open_bracket": BEGIN + '    if name in (".a", ".b":\n        return 0\n',
    "open_quote": BEGIN + '    if name == ".a:\n        return 0\n',
    "assignment_as_test": BEGIN + "    if ctx.uid = 0:\n        return 0\n",
    "misspelled_keyword": BEGIN + "    retrun CONTINUE\n",
    "two_signs_for_and": BEGIN + "    return ctx.uid && ctx.gid\n",
    "not_indented": BEGIN + "return CONTINUE\n",
    "indented_otherwise": BEGIN + "    if name:\n        pass\n      pass\n",
    "end_of_file": BEGIN,
    "unknown_future": "from __future__ import annotatons\n",
}


@pytest.mark.parametrize("name", CASES)
def test_no_python(name: str, golden: Golden) -> None:
    case = CASES[name]
    source = case if case.startswith("from") else HEAD + case
    found = findings(Path("golden.py"), source)
    (error,) = found.diagnostics
    assert error.code == "E001"
    assert error.help
    text = render_all(found.diagnostics, source) + "\n"
    # Python's own words are others in each version of it.
    golden.check(HERE / f"{name}.txt", text.replace(error.message, "not Python: ..."))
