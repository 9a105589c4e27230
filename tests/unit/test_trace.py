# SPDX-License-Identifier: MIT
"""What `trace` knows of the kernel part is what its source says."""

from __future__ import annotations

import errno
import re
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from fusebpf.abi import DEFAULT_FILTER, HOOKS
from fusebpf.cli.trace import _grouped, _text
from fusebpf.errors import FusebpfError
from fusebpf.runtime import mounts
from fusebpf.trace.latency import (
    _LOWER,
    NOT_LOWER,
    Answer,
    Latency,
    Tracer,
    _filters,
    _verdict,
    import_bcc,
)

SOURCE = "\n".join(
    path.read_text()
    for path in sorted((Path(__file__).resolve().parents[2] / "kernel/src").glob("*.c"))
)


def test_lower_operations_are_the_functions_of_that_name() -> None:
    defined = re.findall(r"^(?:static )?\w+ (fbpf_\w+_backing)\([^;]*?\)\n{", SOURCE, re.M)
    named = set(defined)
    assert len(defined) == len(named)
    used = set(re.findall(r"\.backing\s*=\s*(\w+)", SOURCE)) - {"backing"}  # an argument
    assert used <= named
    assert all(_LOWER.match(name) for name in used)
    assert named >= NOT_LOWER
    assert not used & NOT_LOWER


def test_each_hook_has_its_function_once() -> None:
    """The kernel sets no probe on a name that two functions have."""
    made = re.findall(r"FBPF_(PRE|POST)\((\w+)", SOURCE)
    functions = Counter(f"fbpf_{pair}_{phase.lower()}" for phase, pair in made)
    functions.update(re.findall(r"^\w+ (fbpf_\w+_(?:pre|post))\(", SOURCE, re.M))
    for hook in HOOKS:
        ((name, kind),) = _filters([hook], frozenset(functions))
        assert hook.endswith(f"_{kind}")
        assert functions[name] == 1, name


def test_verdicts_by_name() -> None:
    numbers = (0, 5, -errno.ENOENT, -511, 6)
    assert [_verdict(number) for number in numbers] == [
        "CONTINUE",
        "CALL_DEFAULT",
        "ENOENT",
        "-511",
        "6",
    ]


def test_percentiles_of_a_histogram() -> None:
    row = Latency("OPEN", "", "whole", 100, 0, {128: 50, 1024: 49, 8192: 1})
    assert row.percentile(0.5) == 256
    assert row.percentile(0.99) == 2048
    assert row.percentile(1) == 16384


def test_an_operation_that_has_not_ended_hides_no_other() -> None:
    read = Latency("READ", "", "whole", 4, 4000, {512: 4})
    assert _grouped([Latency("OPEN", "", "lower", 1, 300, {256: 1}), read]) == [{"whole": read}]


def test_what_is_not_counted_yet_is_left_out() -> None:
    class Key(NamedTuple):
        slot: int
        opcode: int = 14
        process: bytes = b"cat"
        part: int = 0

    def found(count: int) -> SimpleNamespace:
        return SimpleNamespace(count=count, nanoseconds=100 * count)

    tracer = object.__new__(Tracer)  # a real one needs a mount
    tracer._bpf = {"found": {Key(3): found(0)}}
    assert tracer.read() == []
    tracer._bpf = {"found": {Key(3): found(0), Key(4): found(2)}}
    assert tracer.read() == [Latency("OPEN", "", "whole", 2, 200, {8: 2})]


def test_hooks_that_come_meanwhile_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = object.__new__(Tracer)
    tracer._mountpoint, tracer._probed = "/mnt", {"fbpf_default", "fbpf_open_pre"}
    status = SimpleNamespace(hooks=("lookup_prefilter", "open_prefilter", DEFAULT_FILTER.name))
    monkeypatch.setattr(mounts, "status", lambda _mountpoint: status)
    assert tracer.unprobed == ["lookup_prefilter"]
    monkeypatch.undo()
    assert tracer.unprobed == []  # it is no mount any more


def test_text_has_a_line_for_each_slot() -> None:
    (rows,) = _grouped(
        [
            Latency("OPEN", "cat", "whole", 4, 4000, {512: 3, 2048: 1}),
            Latency("OPEN", "cat", "lower", 2, 600, {256: 2}),
        ]
    )
    answers = [
        Answer("OPEN", "cat", "prefilter", "CONTINUE", 2),
        Answer("OPEN", "cat", "prefilter", "EACCES", 1),
        Answer("OPEN", "sh", "prefilter", "EPERM", 7),
    ]
    assert _text(rows, answers).splitlines() == [
        "OPEN by cat",
        "  whole  4 times, 1000 ns on average, half within 1024, 99 % within 4096",
        "  lower  2 times, 300 ns on average, half within 512, 99 % within 512",
        "  prefilter: CONTINUE 2, EACCES 1",
        "     ns from    whole    lower",
        "         256        0        2",
        f"         512        3        0 {'#' * 40}",
        f"        2048        1        0 {'#' * 13}",
    ]


def test_without_bcc_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcc", None)
    with pytest.raises(FusebpfError, match=r"bcc cannot be imported(?s:.*)python3-bpfcc"):
        import_bcc()
