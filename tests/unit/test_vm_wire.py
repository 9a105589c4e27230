# SPDX-License-Identifier: MIT
"""Frames between runner and agent, and the agent's side of the numbers."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusebpf.vm.kernel import AGENT_SOURCE
from fusebpf.vm.wire import (
    Decoder,
    ExitReport,
    Frame,
    WireError,
    decode_exit,
    encode,
    encode_config,
    encode_file,
)

FRAMES = st.lists(st.tuples(st.sampled_from(Frame), st.binary(max_size=300)), max_size=8)


@given(FRAMES, st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_any_cut(frames: list[tuple[Frame, bytes]], cuts: list[int]) -> None:
    stream = b"".join(encode(kind, data) for kind, data in frames)
    decoder = Decoder()
    seen: list[tuple[Frame, bytes]] = []
    turn = 0
    while stream:
        size = cuts[turn % len(cuts)]
        seen += decoder.feed(stream[:size])
        stream = stream[size:]
        turn += 1
    assert seen == frames


@pytest.mark.parametrize("header", [(0, 0), (99, 1), (2, 1 << 20)])
def test_nonsense_is_refused(header: tuple[int, int]) -> None:
    with pytest.raises(WireError):
        list(Decoder().feed(struct.pack("<II", *header)))


def test_exit_report() -> None:
    assert decode_exit(struct.pack("<IIQ", 7, 0, 1 << 9)) == ExitReport(7, 1 << 9)
    with pytest.raises(WireError):
        decode_exit(b"\0" * 4)


def test_config_records_end_with_nul_and_may_not_hold_one() -> None:
    assert encode_config([("arg", "a b"), ("cwd", "/x")])[8:] == b"arg=a b\0cwd=/x\0"
    with pytest.raises(ValueError, match="NUL"):
        encode_config([("arg", "a\0b")])


def test_file_frame() -> None:
    assert encode_file("fusebpf.ko", b"\x7fELF")[8:] == b"fusebpf.ko\0\x7fELF"


def test_agent_has_the_same_numbers() -> None:
    found = re.findall(r"\bFRAME_(\w+) = (\d+)", AGENT_SOURCE.read_text())
    assert {name: int(number) for name, number in found} == {f.name: f.value for f in Frame}
