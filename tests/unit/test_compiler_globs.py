# SPDX-License-Identifier: MIT
"""The parts of a glob pattern match what Python's fnmatch matches; the C run is compared with
the same rule by the property tests."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given, settings
from hypothesis import strategies as st

from fusebpf.compiler.globs import Run, Segment, literal, segments, unusual_class

PIECES = [b"*", b"?", b"[", b"]", b"!", b"-", b"a", b"b", b"c", b".", b"[a-c]", b"[!a]", b"[]x]"]
PATTERNS = st.lists(st.sampled_from(PIECES), max_size=7).map(b"".join)
NAMES = st.lists(st.sampled_from([b"a", b"b", b"c", b".", b"[", b"]", b"-", b"\xff"]), max_size=8)


def at(part: Segment, name: bytes, place: int) -> bool:
    """Whether a part matches from a place on."""
    for item in part.items:
        if isinstance(item, Run):
            if name[place : place + len(item.text)] != item.text:
                return False
            place += len(item.text)
        elif place >= len(name) or name[place] not in item.allowed:
            return False
        else:
            place += 1
    return True


def matches(pattern: bytes, name: bytes) -> bool:
    """What the generated C does: the leftmost place for every part between two stars."""
    first, *rest = segments(pattern)
    if not rest:
        return len(name) == first.size and at(first, name, 0)
    last = rest.pop()
    if len(name) < first.size + sum(p.size for p in rest) + last.size or not at(first, name, 0):
        return False
    place, end = first.size, len(name) - last.size
    for part in rest:
        found = [p for p in range(place, end - part.size + 1) if at(part, name, p)]
        if not found:
            return False
        place = found[0] + part.size
    return at(last, name, end)


@settings(max_examples=1500)
@given(PATTERNS, NAMES.map(b"".join))
def test_parts_of_patterns_match_as_fnmatch_does(pattern: bytes, name: bytes) -> None:
    assert matches(pattern, name) == fnmatchcase(name, pattern)


@given(st.binary(max_size=6))
def test_a_literal_matches_itself_only(text: bytes) -> None:
    assert fnmatchcase(text, literal(text))
    assert not fnmatchcase(text + b"x", literal(text))


def test_classes_of_several_bytes_are_told_from_brackets_that_never_close() -> None:
    assert unusual_class("[é]".encode())
    assert unusual_class("[a]*[!é]".encode())
    assert not unusual_class("[é".encode())
    assert not unusual_class("é[ab]é".encode())
