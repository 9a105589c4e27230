# SPDX-License-Identifier: MIT
"""Patterns of gitignore(5), taken apart into one glob for each component of a path.

What a glob takes is asked in bytes. A pattern without a slash inside stands for itself at every
depth, which here is a leading ``**``.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable

from fusebpf.frozen import dataclass

#: What a step of a glob takes: one byte of some, or (None) any number of bytes.
Token = frozenset[int] | None

STAR = None
EVERY = frozenset(range(256)) - {ord("/")}

#: The classes that can be named within brackets.
_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, [*range(32), 127])),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": string.whitespace,
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}


# Past what quotes a brace: a backslash, a class.
_BRACES = re.compile(r"\\.|\[[!^]?.[^\]]*\]|(\{([^{}]*,[^{}]*)\})", re.DOTALL)


class PatternError(ValueError):
    """A pattern that cannot be meant: the bytes from ``start`` to ``end`` of it are why."""

    def __init__(self, message: str, help: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message, self.help, self.start, self.end = message, help, start, end


@dataclass(frozen=True)
class Glob:
    """One component of a pattern."""

    tokens: tuple[Token, ...]

    def literal(self, ignore_case: bool = False) -> bytes | None:
        """The one name that it takes, in lower case with ``ignore_case``; None for several."""
        found = bytearray()
        for token in self.tokens:
            text = bytes(token or b"")
            folded = set(text.lower() if ignore_case else text)
            if len(folded) != 1 or (ignore_case and token != _folded(token)):
                return None
            found += bytes(folded)
        return bytes(found)

    def regex(self) -> re.Pattern[bytes]:
        """The names that it takes, for ``fullmatch``.

        What stands between two stars is taken where it is found first and stays there: another
        place would leave less for the rest. So the time does not multiply with each star.
        """
        pieces = [b""]
        for token in self.tokens:
            if token is STAR:
                pieces.append(b"")
            else:
                pieces[-1] += _regex(token)
        first, *between = pieces
        last = b".*" + between.pop() if between else b""
        return re.compile(
            first + b"".join(b"(?>.*?%b)" % piece for piece in between) + last, re.DOTALL
        )


#: Any number of components, also none. A pattern does not end in it.
ANY_DEPTH = Glob((STAR, STAR))


@dataclass(frozen=True)
class Pattern:
    """A pattern. ``takes_back`` is its ``!``; ``directory`` the slash at its end."""

    text: str
    takes_back: bool
    directory: bool
    components: tuple[Glob, ...]


def parse(text: str, ignore_case: bool = False) -> Pattern:
    """Take a pattern apart; ``ignore_case`` takes ASCII letters as equal.

    Raises PatternError, also where git would take a pattern that never matches.
    """
    _refuse_braces(text)
    rest, offset = text, 0
    takes_back = rest.startswith("!")
    if takes_back:
        rest, offset = rest[1:], 1
    pieces = _pieces(rest)
    directory = len(pieces) > 1 and pieces[-1][1] == ""
    if directory:
        pieces.pop()
    anchored = len(pieces) > 1
    if anchored and pieces[0][1] == "":
        pieces.pop(0)
    components = [] if anchored else [ANY_DEPTH]
    for at, piece in pieces:
        component = _component(piece, offset + at, ignore_case)
        if component is not ANY_DEPTH or components[-1:] != [ANY_DEPTH]:
            components.append(component)
    if components[-1] is ANY_DEPTH:  # at the end it is one component at least
        components.append(Glob((STAR,)))
    return Pattern(text, takes_back, directory, tuple(components))


def _refuse_braces(text: str) -> None:
    """Raise PatternError for what a shell takes for alternatives, and gitignore for a name."""
    for found in _BRACES.finditer(text):
        if found[1]:
            before, after = text[: found.start()], text[found.end() :]
            rules = " and ".join(before + part + after for part in found[2].split(","))
            raise PatternError(
                "braces are no alternatives, but part of a name",
                f"write a rule for each: {rules}; in a name there is a backslash before the '{{'",
                *found.span(),
            )


def _pieces(text: str) -> list[tuple[int, str]]:
    """What stands between slashes, and where.

    A slash within brackets is one, too, so that the class is not closed. To git it is part of the
    class, where it takes nothing.
    """
    found, at = [], 0
    for piece in text.split("/"):
        found.append((at, piece))
        at += len(piece) + 1
    return found


def _component(text: str, at: int, ignore_case: bool) -> Glob:
    end = at + len(text)
    if (nul := text.find("\0")) >= 0:
        raise PatternError(
            "the pattern has a NUL, which no name has", "remove it", at + nul, at + nul + 1
        )
    if not text:
        raise PatternError(
            "the pattern has an empty component",
            "write the name of a file or directory, with one slash between two; "
            "the root of the tree itself has no rule: '*' is everything in it",
            at,
            end + 1,
        )
    if text in (".", ".."):
        raise PatternError(
            f"{text!r} is no name that a path of the tree has",
            "write the path from the root of the tree, e.g. /src/main.c",
            at,
            end,
        )
    if len(text) > 1 and set(text) == {"*"}:
        return ANY_DEPTH
    tokens: list[Token] = []
    place = 0
    while place < len(text):
        token, place = _token(text, place, at, ignore_case)
        if token is None and tokens and tokens[-1] is None:
            continue
        if token is None:
            tokens.append(STAR)
        else:
            tokens += token
    return Glob(tuple(tokens))


def _token(
    text: str, place: int, at: int, ignore_case: bool
) -> tuple[list[frozenset[int]] | None, int]:
    """What the pattern takes next (None: a star), and where it goes on."""
    char = text[place]
    if char == "*":
        return None, place + 1
    if char == "?":
        return [EVERY], place + 1
    fold = _folded if ignore_case else frozenset
    if char == "[":
        allowed, negated, end = _class(text, place, at)
        allowed = fold(allowed)  # before it is negated, as in git
        return [EVERY - allowed if negated else allowed], end
    if char == "\\":
        place += 1
        if place == len(text):
            raise PatternError(
                "the pattern ends in a backslash, which quotes what follows",
                "write \\\\ for a backslash in the name, or remove it",
                at + place - 1,
                at + place,
            )
        char = text[place]
    return [fold([byte]) for byte in _bytes(char)], place + 1


def _bytes(char: str) -> bytes:
    return char.encode("utf-8", "surrogateescape")


def _class(text: str, start: int, at: int) -> tuple[frozenset[int], bool, int]:
    """The bytes of ``[...]``, whether all others are meant, and where the pattern goes on."""
    place = start + 1
    negated = text[place : place + 1] in ("!", "^") and place < len(text)
    if negated:
        place += 1
    allowed: set[int] = set()
    first, low = True, None
    while first or text[place : place + 1] != "]":
        first = False
        if place >= len(text):
            raise PatternError(
                "'[' begins a class that is not closed",
                "write \\[ for a bracket in the name, or add the ]",
                at + start,
                at + len(text),
            )
        if text.startswith("[:", place):
            name, closed, _ = text[place + 2 :].partition(":]")
            if not closed or name not in _CLASSES:
                raise PatternError(
                    f"there is no class [:{name}:]" if closed else "'[:' is not closed by ':]'",
                    f"the classes are {', '.join(_CLASSES)}",
                    at + place,
                    at + (place + len(name) + 4 if closed else len(text)),
                )
            allowed |= set(_CLASSES[name].encode())
            place += len(name) + 4
            low = None
            continue
        if low is not None and text[place] == "-" and text[place + 1 : place + 2] not in ("]", ""):
            high, after = _member(text, place + 1, at)
            if high < low:
                raise PatternError(
                    f"the range {text[place - 1 : after]} is empty: its ends are in wrong order",
                    "write the lower one first",
                    at + place - 1,
                    at + after,
                )
            allowed |= set(range(low, high + 1))
            place, low = after, None
            continue
        low, place = _member(text, place, at)
        allowed.add(low)
    return frozenset(allowed - {ord("/")}), negated, place + 1


def _member(text: str, place: int, at: int) -> tuple[int, int]:
    """One byte of a class, and where the class goes on."""
    begin = place
    if text[place] == "\\" and place + 1 < len(text):
        place += 1
    value = _bytes(text[place])
    if len(value) > 1:
        raise PatternError(
            f"a class holds single bytes, and {text[place]!r} has {len(value)} in UTF-8",
            "write a rule for each character",
            at + begin,
            at + place + 1,
        )
    return value[0], place + 1


def _folded(allowed: Iterable[int] | None) -> frozenset[int]:
    text = bytes(allowed or b"")
    return frozenset(text + text.lower() + text.upper())


def _regex(token: frozenset[int]) -> bytes:
    if token == EVERY:
        return b"."
    if len(token) == 1:
        return re.escape(bytes(token))
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(token)) + b"]"
