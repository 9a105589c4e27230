# SPDX-License-Identifier: MIT
"""The examples do what their first line says: in plain Python, in the typed run, in this kernel."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusebpf import CreateIn, Name, OpenIn, ReadIn
from fusebpf.abi.record import Record
from fusebpf.build import build_compiled, compile_file
from fusebpf.dsl import Context
from fusebpf.testing.case import Caller, Case, Cell, Entry, Outcome
from tests.unit.runs import runs_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

Run = Callable[..., Outcome]


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Any:
    """Runs a hook of the example named by the test's parameter; both runs must agree."""
    name, config = request.param
    with runs_of(EXAMPLES / f"{name}.py", config=config) as runs:
        yield lambda hook, **case: runs.run(hook, Case(**case))


def example(name: str, config: dict[str, int] | None = None) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("run", [(name, config or {})], indirect=True, ids=[name])


def plain(name: str) -> dict[str, Any]:
    """The example's names, as ordinary Python."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def looked(run: Run, name: bytes) -> int:
    return run("lookup_prefilter", buffers={"name": name}).verdict


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_builds(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 48 or "fusebpf.daemon" in text  # daemons are two programs
    compiled = compile_file(path)
    assert not compiled.warnings
    assert build_compiled(compiled).data.startswith(b"\x7fELF")


@example("hide_everywhere")
def test_hide_everywhere(run: Run) -> None:
    hidden = {b"a.pem": -2, b"id_ed25519": -2, b"id_ed25519.pub": 0, b".env.local": -2, b"id_": 0}
    assert {name: looked(run, name) for name in hidden} == hidden
    entries = tuple(Entry(name) for name in hidden)
    kept = run("readdir_postfilter", listing=entries).listing
    assert [entry.name for entry in kept] == [b"id_ed25519.pub", b"id_"]
    moved = {"old_name": b"a", "new_name": b"a.key"}
    assert run("rename2_prefilter", buffers=moved).verdict == -1
    harmless = plain("hide_everywhere")["harmless"]
    assert [harmless(Context(), Name(name)) for name in hidden] == [v == 0 for v in hidden.values()]


@example("media_only")
def test_media_only(run: Run) -> None:
    for name, verdict in ((b"A.JPG", 0), (b"notes.txt", -2), (b"2024", 0), (b"..", 0)):
        assert looked(run, name) == verdict


@example("protect_suffix")
def test_protect_suffix(run: Run) -> None:
    def removed(name: bytes, uid: int) -> int:
        return run("unlink_prefilter", buffers={"name": name}, caller=Caller(uid=uid)).verdict

    assert removed(b"app.DB", 1000) == -1
    assert removed(b"app.DB", 0) == 0
    assert removed(b"app.txt", 1000) == 0


@example("audit_events")
def test_audit_events(run: Run) -> None:
    outcome = run(
        "create_open_prefilter",
        buffers={"name": b"new"},
        caller=Caller(uid=7, pid=3),
        ktime=99,
    )
    (raw,) = outcome.events["changes"]
    kinds = {"when": "u64", "pid": "u32", "uid": "u32", "opcode": "u32", "name": "bytes256"}
    assert Record.make("Change", kinds.items()).unpack(raw) == (99, 3, 7, 35, b"new")
    names = plain("audit_events")
    names["created"](Context(uid=7, ktime=5), CreateIn(), Name("x"))
    assert [(e.uid, e.when, e.name) for e in names["changes"].emitted] == [(7, 5, "x")]


WINDOW = Record.make("Window", [("start", "u64"), ("opens", "u64")])


@example("rate_limit", {"limit": 2, "window_ms": 10})
def test_rate_limit(run: Run) -> None:
    def opened(now: int, before: dict[Cell, Cell]) -> tuple[int, tuple[int | bytes, ...]]:
        outcome = run("open_prefilter", ktime=now, caller=Caller(uid=5), maps={"windows": before})
        value = outcome.maps["windows"][5]
        assert isinstance(value, bytes)
        return outcome.verdict, WINDOW.unpack(value)

    assert opened(1000, {}) == (0, (1000, 1))
    assert opened(2000, {5: WINDOW.pack([1000, 1])}) == (0, (1000, 2))
    assert opened(3000, {5: WINDOW.pack([1000, 2])}) == (-11, (1000, 2))
    assert opened(10_001_000, {5: WINDOW.pack([1000, 2])}) == (0, (10_001_000, 1))
    names = plain("rate_limit")
    verdicts = [names["throttle"](Context(uid=1, ktime=9), OpenIn()) for _ in range(101)]
    assert [v is None for v in verdicts] == [True] * 100 + [False]


@example("fault_injection", {"every": 3, "error": 28})
def test_fault_injection(run: Run) -> None:
    for before, verdict in ((0, 0), (1, 0), (2, -28), (3, 0), (5, -28)):
        for hook in ("read_iter_prefilter", "write_iter_prefilter", "fsync_prefilter"):
            assert run(hook, maps={"calls": {0: before}}).verdict == verdict
    read = plain("fault_injection")["read"]
    assert [read(Context(), ReadIn()).value for _ in range(200)].count(-5) == 2


@example("hide_denied")
def test_hide_denied(run: Run) -> None:
    for error, verdict in ((-13, -2), (-1, -2), (-5, 0), (0, 0)):
        assert run("lookup_postfilter", error_in=error).verdict == verdict


@example("uid_shift", {"offset": 1000})
def test_uid_shift(run: Run) -> None:
    shown = run("getattr_postfilter", structs={"attr_out": {"attr.uid": 5, "attr.gid": 6}})
    assert shown.structs["attr_out"]["attr.uid"] == 1005
    assert shown.structs["attr_out"]["attr.gid"] == 1006
    asked = {"valid": 2, "uid": 1005, "gid": 1006}  # FATTR_UID
    stored = run("setattr_prefilter", structs={"setattr_in": asked}).structs["setattr_in"]
    assert (stored["uid"], stored["gid"]) == (5, 1006)
