# SPDX-License-Identifier: MIT
"""A damaged filter file gives C or a located error, never a crash of the compiler.

``FUSEBPF_MUTATIONS`` sets how many damaged sources are tried, 400 by default.
"""

from __future__ import annotations

import io
import os
import random
import re
import tokenize
from pathlib import Path

import pytest

from fusebpf.build import BuildError, compile_file

ROOT = Path(__file__).resolve().parents[2]
COUNT = int(os.environ.get("FUSEBPF_MUTATIONS", "400"))
SEED = int(os.environ.get("FUSEBPF_SEED", "1"))

SOUND = sorted([*(ROOT / "examples").glob("*.py"), *(ROOT / "tests/golden").glob("[ac]*/*.py")])
BROKEN = sorted((ROOT / "tests/golden/errors").glob("*.py"))

TEXT = (
    "0 -1 256 2**70 'x' b'\\xff' None True ctx name req entries filters hits CONTINUE POSTFILTER "
    "-ENOENT ENOENT == < in not and or + - // % << >> & [ ] ( ) { } : , . = += return if else for "
    "while range(3) range(10**9) len lambda: yield await break continue pass del global import u32 "
    "s64 Context Name Dirents 1.5 ... @ f'{ctx}' :="
)
WORDS = TEXT.split()


def damage(source: str, rng: random.Random) -> str:
    """One to three tokens deleted, doubled, swapped or replaced."""
    try:
        tokens = [t.string for t in tokenize.generate_tokens(io.StringIO(source).readline)]
    except (tokenize.TokenError, SyntaxError, IndentationError):
        tokens = []
    words = [t for t in tokens if t.strip() and not t.startswith("#")] or ["filters"]
    for _ in range(1 + rng.randrange(3)):
        word = rng.choice(words)
        places = [match.start() for match in re.finditer(re.escape(word), source)]
        if not places:
            continue
        at = rng.choice(places)
        other = rng.choice([*WORDS, rng.choice(words)])
        new = rng.choice(["", f"{word} {word}", other, f"{other} {word}", f"{word} {other}"])
        source = source[:at] + new + source[at + len(word) :]
    return source


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # of the damaged sources
@pytest.mark.timeout(0 if "FUSEBPF_MUTATIONS" in os.environ else 300)
def test_a_damaged_source_is_compiled_or_refused_with_a_place(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    path = tmp_path / "damaged.py"
    compiled = refused = 0
    for number in range(COUNT):
        whole = rng.choice(BROKEN if number % 8 == 0 else SOUND)
        source = damage(whole.read_text(encoding="utf-8"), rng)
        path.write_text(source, encoding="utf-8")
        try:
            compile_file(path)
            compiled += 1
        except BuildError as error:
            refused += 1
            text = error.render()
            assert text.strip(), f"damage {number}: an empty message\n{source}"
            assert "Traceback" not in text, f"damage {number}\n{text}\n{source}"
            for item in error.diagnostics:
                # A ready part has its own file.
                text = source if not item.file else Path(item.file).read_text(encoding="utf-8")
                lines = text.count("\n") + 2
                assert 1 <= item.line <= lines, f"damage {number}: {item}\n{source}"
                assert item.message, f"damage {number}: {item}\n{source}"
        except Exception as crash:
            raise AssertionError(f"damage {number} crashed the compiler\n{source}") from crash
    print(f"\n{compiled} compiled, {refused} refused")
    assert refused > COUNT // 4, "the damage is too mild to mean anything"
    assert compiled > 0
