# SPDX-License-Identifier: MIT
"""The error index: ``python -m fusebpf.codes.markdown`` writes docs/errors.md."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from fusebpf.codes import Code, Mistake, table

_HEAD = """\
<!-- SPDX-License-Identifier: MIT -->
<!-- Made by `python -m fusebpf.codes.markdown`; do not edit. -->
# Findings

Every finding has a code. `fusebpf check --fix` applies the edits that are shown here, with
`--unsafe-fixes` also those that are a guess; `fusebpf explain CODE` tells about one code. A test
applies every edit of this page, and compares what comes out with what was meant.
"""


def render() -> str:
    """The whole page."""
    parts = [_HEAD, *(_section(code) for code in table().values())]
    return "\n".join(parts)


def path() -> Path:
    """Where the page stands in a source tree."""
    return Path(__file__).resolve().parents[2] / "docs" / "errors.md"


def explain(code: Code) -> str:
    """A code in plain text, with its examples."""
    lines = [f"{code.name}: {code.title}", "", code.cause, *_without_edit(code)]
    for mistake in code.mistakes:
        lines += ["", f"{mistake.title}:", *(f"    {line}" for line in _difference(mistake))]
    return "\n".join(lines)


def _section(code: Code) -> str:
    lines = [f"## {code.name}: {code.title}", "", code.cause, *_without_edit(code), ""]
    for mistake in code.mistakes:
        lines += [f"{mistake.title}:", "", "```diff", *_difference(mistake), "```", ""]
    return "\n".join(lines)


def _without_edit(code: Code) -> list[str]:
    return ["", f"Without an edit: {code.open}"] if code.open else []


def _difference(mistake: Mistake) -> Iterator[str]:
    before, after = mistake.wrong.splitlines(), mistake.right.splitlines()
    for line in difflib.ndiff(before, after):
        if not line.startswith("?"):
            yield line.rstrip()


def main() -> None:
    """Write the page."""
    path().write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
