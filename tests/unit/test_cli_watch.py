# SPDX-License-Identifier: MIT
"""What the watching commands print of names, and which filters `top` looks at."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from fusebpf.build.metadata import MapMeta
from fusebpf.cli import cli, run, show, top
from fusebpf.cli.interrupts import interrupts, pause
from fusebpf.cli.output import shown
from fusebpf.runtime import features, mountinfo, state, stats, sysbpf
from fusebpf.runtime.libbpf import Object
from fusebpf.runtime.maps import record_class
from fusebpf.runtime.stats import HookStats
from tests.unit.runtime_objects import compiled, needs_root


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain name", "plain name"),
        ("schön".encode(), "schön"),
        (b"odd\xff", "odd\\xff"),
        (b"two\nlines", "two\\nlines"),
        (b"\x1b[2Jgone", "\\x1b[2Jgone"),
        ("left\u202eright".encode(), "left\\u202eright"),
    ],
)
def test_a_name_gives_the_terminal_no_orders(raw: bytes, text: str) -> None:
    assert shown(raw) == text


def test_a_mountpoint_is_no_markup() -> None:
    row = HookStats("open_prefilter", "note", 3, 300)
    console = Console(file=io.StringIO(), width=200)
    console.print(top._table(1.0, [(Path("/mnt/[red]x[/red]"), row)]))
    assert isinstance(console.file, io.StringIO)
    assert "/mnt/[red]x[/red]" in console.file.getvalue()


def test_a_terminal_has_one_table_kept_up_to_date() -> None:
    row = HookStats("open_prefilter", "note", 3, 300)
    samples = [(1.0, [(Path("/mnt"), row)]), (1.0, [])]
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.environ.update(COLUMNS="100", TERM="xterm")
            with os.fdopen(1, "w") as sys.stdout:
                top._live(iter(samples))
            os._exit(0)
        finally:
            os._exit(1)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(terminal, "rb", 0) as out:
        while part := out.read(4096):  # at the end: EIO
            shown += part
    assert os.waitpid(pid, 0)[1] == 0
    assert b"note" in shown
    assert b"\x1b[1A" in shown, "the second table is drawn over the first"


def test_a_narrow_terminal_has_the_numbers() -> None:
    row = HookStats("open_prefilter", "note_everything", 31234, 3000000)
    console = Console(file=io.StringIO(), width=30)
    console.print(top._table(1.0, [(Path("/mnt/somewhere"), row)]))
    assert isinstance(console.file, io.StringIO)
    head, line = console.file.getvalue().splitlines()
    assert head.split()[-4:] == ["CALLS/S", "NS/CALL", "CPU", "%"]
    assert line.split()[-3:] == ["31234", "96", "0.30"]


def watched(term: str) -> tuple[int, int]:
    """`top` on a terminal of its own, where no mount is: its process, and the terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.environ.update(COLUMNS="100", TERM=term)
            features.require_root = lambda what: None
            features.require = lambda: None  # type: ignore[assignment, return-value]
            stats.Meter = contextlib.nullcontext  # type: ignore[misc, assignment]
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with os.fdopen(1, "w") as sys.stdout:
                run(["top", "--interval", "0.1"])
        finally:
            os._exit(1)
    return pid, terminal


@pytest.mark.parametrize(
    ("term", "first"), [("xterm", b"\x1b[?25l"), ("dumb", b"no filters are in force\r\n")]
)
def test_a_terminal_is_left_as_it_was(term: str, first: bytes) -> None:
    """Also by a signal; and one that draws nothing over the last has a table below the other."""
    pid, terminal = watched(term)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(terminal, "rb", 0) as out:
        while first not in shown:
            shown += out.read(4096)  # at the end: EIO
        os.kill(pid, signal.SIGTERM)
        while part := out.read(4096):
            shown += part
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM, shown
    assert first in shown
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h")


def test_nothing_in_force_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    top._print_plain(iter([(1.0, [])]))
    assert capsys.readouterr().out == "no filters are in force\n"


@pytest.mark.parametrize(
    ("kernel", "filter_name"),
    [
        ("note_ops", "note"),
        ("hide_secret_ops", "hide_secret"),
        ("hide_secrets_op", "hide_secrets"),
        ("hide_every_key_", "hide_every_key"),
        ("hide_every_secr", "hide_every_secr"),
        ("undo_op_ops", "undo_op"),
    ],
)
def test_a_filter_has_its_name_back(kernel: str, filter_name: str) -> None:
    program = sysbpf.ProgInfo(1, 27, kernel, (), 0, 0, 0)
    assert state.filter_name(program) == filter_name


@needs_root
def test_a_long_name_is_whole() -> None:
    name = "hide_every_secret_there_is"
    body = f'SEC("raw_tp/x") int {name}_ops(__u64 *ctx) {{ return 1; }}'
    with Object(compiled(body), "long") as opened:
        opened.load()
        program = sysbpf.prog_info(opened.programs[f"{name}_ops"].fd)
        assert program.name == f"{name}_ops"[:15]
        assert state.filter_name(program) == name


def test_filters_that_mounts_share_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b"".join(
        b"%d 1 0:1 / %s rw - fuse_bpf /lower rw,root_bpf=x,link_id=%d%s\n" % entry
        for entry in ((30, b"/a", 7, b""), (31, b"/b", 8, b""), (32, b"/bound", 7, b""))
    )
    dead = b"33 1 0:1 / /dead rw - fuse_bpf /lower rw,root_bpf=x,link_id=9,dead\n"
    found = list(mountinfo.parse(raw + dead))
    monkeypatch.setattr(mountinfo, "entries", lambda: found)
    assert top._in_force() == [(Path("/a"), 7), (Path("/b"), 8)]


def test_what_is_zero_in_an_array_is_a_number() -> None:
    whole = {0: 0, 1: 7, 2: 0}
    assert show._table(MapMeta("slots", "array", "u32", "u32", 3), whole) == [
        "slots (array): 2 of 3 zero",
        "  1: 7",
    ]
    assert show._table(MapMeta("asked", "hash", "u32", "u32", 3), {5: 0}) == [
        "asked (hash):",
        "  5: 0",
    ]
    assert show._table(MapMeta("asked", "hash", "u32", "u32", 3), {}) == ["asked (hash): empty"]
    use = "Use{count:u32,name:bytes16}"
    uses = dict(enumerate(map(record_class(use), (0, 0, 1), (b"", b"x", b""))))
    assert show._table(MapMeta("uses", "percpu_array", "u32", use, 3), uses) == [
        "uses (percpu_array): 1 of 3 zero",
        "  1: count=0 name=x",
        "  2: count=1 name=",
    ]


@pytest.mark.parametrize("command", ["events", "trace", "stats"])
@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "-1", "soon"])
def test_a_time_is_one_that_can_pass(command: str, seconds: str) -> None:
    done = CliRunner().invoke(cli, [command, "/nowhere", "--for", seconds])
    assert done.exit_code == 2
    assert "'--for'" in done.output


TOLD = """
import os, signal, sys
from fusebpf.cli.interrupts import interrupts, pause
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have it ignored
with interrupts() as seen:
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    pause(seen, None)
    print("taken before")
print("after")
"""


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("SIGINT", 0, "taken before\nafter\n"),
        ("SIGTERM", -signal.SIGTERM, "taken before\n"),
        ("SIGHUP", -signal.SIGHUP, "taken before\n"),
    ],
)
def test_what_was_taken_is_printed_before_a_signal_ends_it(
    name: str, status: int, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD, name], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, said, "")


def test_a_signal_that_is_to_be_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts() as seen:
            os.kill(os.getpid(), signal.SIGHUP)
        assert seen == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_does_not_wait() -> None:
    def twice() -> None:
        with interrupts() as seen:
            os.kill(os.getpid(), signal.SIGTERM)
            pause(seen, 60)
            os.kill(os.getpid(), signal.SIGINT)
            pause([], 60)

    with pytest.raises(KeyboardInterrupt):
        twice()
