# SPDX-License-Identifier: MIT
"""`trace` and `doctor` where fuse-bpf is."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from fusebpf.build import build_file
from fusebpf.runtime import attach, features, replace
from tests.unit import json_schemas
from tests.vm.attach_objects import fusebpf, nothing_left, running
from tests.vm.kernelkit import code_of

pytest.importorskip("bcc")

FILTERS = """
from fusebpf import CALL_DEFAULT, CONTINUE, Context, FilterSet, Name, OpenIn
from fusebpf.constants import EACCES, ENOENT

filters = FilterSet("traced")
OPENDIR = 27

@filters.lookup.pre
def hide_keys(ctx: Context, name: Name):
    return -ENOENT if name.endswith(".pem") or name == "id_rsa" else CONTINUE

@filters.open.pre
def opened(ctx: Context, req: OpenIn):
    return CALL_DEFAULT

@filters.default
def no_listing(ctx: Context):
    return -EACCES if ctx.opcode == OPENDIR else CONTINUE
"""


def probes() -> list[str]:
    """Functions that have probes now."""
    subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=False)
    os.listdir("/sys/kernel/debug/tracing")  # mounts itself when bcc looks at it
    return Path("/sys/kernel/debug/kprobes/list").read_text().splitlines()


def test_operations_of_one_mount_are_measured(lower: Path, mnt: Path, tmp_path: Path) -> None:
    other, source = tmp_path / "other", tmp_path / "traced.py"
    source.write_text(FILTERS)
    traced = build_file(source, standins=False).path
    other.mkdir()
    before = probes()
    with nothing_left(), attach(traced, lower, mnt), attach(traced, lower, other):
        with running("trace", "--json", "--by-process", mnt) as (tracer, out):
            assert out.readline() == f"tracing {mnt}; Ctrl-C ends it\n"
            for number in range(20):
                (mnt / "file").read_text()
                (other / "file").read_text()
                assert not os.path.exists(mnt / f"{number}.pem")
                assert not os.path.exists(mnt / "id_rsa")
                assert code_of(lambda: os.listdir(mnt)) == errno.EACCES
            subprocess.run(["cat", mnt / "file"], check=True, stdout=subprocess.DEVNULL)
            assert tracer.pid is not None
            os.kill(tracer.pid, signal.SIGINT)
            told = json.load(out)
        json_schemas.check("trace", told)
        assert (told["missed"], told["unprobed"]) == (0, [])
        rows = {(row["opcode"], row["process"], row["part"]): row for row in told["latencies"]}
        for row in rows.values():
            assert sum(row["histogram"].values()) == row["count"]
        ours = Path("/proc/self/comm").read_text().strip()
        opened = {part: rows["OPEN", ours, part] for part in ("whole", "lower", "filter")}
        assert {row["count"] for row in opened.values()} == {20}, (
            "those of the other mount are not in"
        )
        assert opened["whole"]["nanoseconds"] > (
            opened["lower"]["nanoseconds"] + opened["filter"]["nanoseconds"]
        )
        # What a filter refuses does not reach the lower directory.
        assert rows["LOOKUP", ours, "filter"]["count"] >= 21
        assert rows["LOOKUP", ours, "lower"]["count"] < rows["LOOKUP", ours, "whole"]["count"]
        assert rows["OPEN", "cat", "whole"]["count"] == 1
        verdicts = {
            (row["opcode"], row["process"], row["filter"], row["verdict"]): row["count"]
            for row in told["verdicts"]
        }
        assert verdicts["LOOKUP", ours, "prefilter", "ENOENT"] == 21, (
            "a kept answer is asked for once"
        )
        assert {key: n for key, n in verdicts.items() if key[:2] == ("OPEN", ours)} == {
            ("OPEN", ours, "prefilter", "CALL_DEFAULT"): 20,
            ("OPEN", ours, "default_filter", "CONTINUE"): 20,
        }
        assert verdicts["OPENDIR", ours, "default_filter", "EACCES"] == 20
    assert probes() == before


def test_filters_that_come_meanwhile_are_named(lower: Path, mnt: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "traced.py", tmp_path / "part.py"
    whole.write_text(FILTERS)
    part.write_text(FILTERS.partition("@filters.default")[0])
    first, second = (build_file(source, standins=False).path for source in (part, whole))
    with nothing_left(), attach(first, lower, mnt):
        with running("trace", "--json", mnt) as (tracer, out):
            assert out.readline() == f"tracing {mnt}; Ctrl-C ends it\n"
            replace(mnt, second)
            assert tracer.pid is not None
            os.kill(tracer.pid, signal.SIGINT)
            told = json.load(out)
        json_schemas.check("trace", told)
        assert told["unprobed"] == ["default_filter"]


def test_doctor_finds_all_that_attach_needs() -> None:
    done = fusebpf("doctor", "--json", "--for", "attach", "--for", "compile", "--for", "trace")
    told = json.loads(done.stdout)
    json_schemas.check("doctor", told)
    assert done.returncode == 0, [entry for entry in told if entry["state"] != "ok"]
    assert {entry["state"] for entry in told} == {"ok"}
    assert f"type {features.require().fs_type}, " in done.stdout
