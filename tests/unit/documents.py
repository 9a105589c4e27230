# SPDX-License-Identifier: MIT
"""The code of the documents: their blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("kernel/*.md")])

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^|(?<=\n\n))((?: {4}.*\n|\n(?= {4}))+)")
_PROMPT = "$ "
_OPERATORS = {"&&", "||", ";", "|", "&"}


@dataclass(frozen=True)
class Block:
    """A block of code. ``language`` is "" for an indented one; ``above``: the line before it."""

    page: Path
    line: int
    language: str
    text: str
    above: str

    @property
    def where(self) -> str:
        """Page and line, as an editor opens them."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[str]:
        """The lines that one types, without their prompt."""
        lines = self.text.splitlines()
        if self.language == "console":
            return [line.removeprefix(_PROMPT) for line in lines if line.startswith(_PROMPT)]
        return [line for line in lines if line.strip()]


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    found = [_block(page, text, m, m[1], m[2]) for m in _FENCE.finditer(text)]
    # Fenced blocks must not be searched for indented ones; lines keep their numbers.
    bare = _FENCE.sub(lambda match: re.sub(r"[^\n]", ".", match[0]), text)
    for match in _INDENTED.finditer(bare):
        found.append(_block(page, text, match, "", re.sub(r"^ {4}", "", match[1], flags=re.M)))
    return sorted(found, key=lambda block: block.line)


def _block(page: Path, text: str, match: re.Match[str], language: str, code: str) -> Block:
    before = text[: match.start()]
    above = before.rstrip().rpartition("\n")[2]
    return Block(page, before.count("\n") + 1, language, code, above)


def python_blocks(page: Path) -> list[str]:
    """The Python of a page."""
    return [block.text for block in blocks(page) if block.language == "python"]


def words(line: str) -> Iterator[list[str]]:
    """The simple commands of a line of shell, each as its words; variables set for it left out."""
    lexer = shlex.shlex(re.sub(r"\$\([^)]*\)", "SUBST", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    command: list[str] = []
    for word in [*lexer, ";"]:
        if word in _OPERATORS:
            if command:
                yield command
            command = []
        elif command or not re.match(r"[A-Z_]+=", word):
            command.append(word)


@dataclass(frozen=True)
class Step:
    """Of the tutorial: a file to write, or a command with what it answers."""

    block: Block
    command: str
    answer: str


def steps(page: Path) -> list[Step]:
    """What a page has its reader do: files, which the line above names last, and commands."""
    found = []
    for block in blocks(page):
        if block.language == "python":
            named = re.findall(r"`([\w/]+\.py)`", block.above)
            assert named, f"{block.where}: which file is this?"
            found.append(Step(block, "", named[-1]))
        elif block.language == "console":
            for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, _, answer = part.partition("\n")
                found.append(Step(block, command, answer))
    return found
