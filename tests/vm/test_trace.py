# SPDX-License-Identifier: MIT
"""`trace` and `doctor` where fuse-bpf is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from fusebpf.runtime import attach, features
from tests.unit import json_schemas
from tests.vm.attach_objects import fusebpf, nothing_left, running

pytest.importorskip("bcc")


def probes() -> list[str]:
    """Functions that have probes now."""
    subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=False)
    os.listdir("/sys/kernel/debug/tracing")  # mounts itself when bcc looks at it
    return Path("/sys/kernel/debug/kprobes/list").read_text().splitlines()


def test_operations_of_one_mount_are_measured(
    guard: Path, lower: Path, mnt: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    before = probes()
    with nothing_left(), attach(guard, lower, mnt), attach(guard, lower, other):
        with running("trace", "--json", "--by-process", mnt) as (tracer, out):
            assert out.readline() == f"tracing {mnt}; Ctrl-C ends it\n"
            for number in range(20):
                (mnt / "file").read_text()
                (other / "file").read_text()
                assert not os.path.exists(mnt / f"{number}.pem")
                assert not os.path.exists(mnt / "id_rsa")
            subprocess.run(["cat", mnt / "file"], check=True, stdout=subprocess.DEVNULL)
            assert tracer.pid is not None
            os.kill(tracer.pid, signal.SIGINT)
            told = json.load(out)
        json_schemas.check("trace", told)
        assert told["missed"] == 0
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
        assert rows["LOOKUP", ours, "filter"]["count"] >= 40
        assert rows["LOOKUP", ours, "lower"]["count"] < rows["LOOKUP", ours, "whole"]["count"]
        assert rows["OPEN", "cat", "whole"]["count"] == 1
        verdicts = {
            (row["opcode"], row["process"], row["filter"], row["verdict"]): row["count"]
            for row in told["verdicts"]
        }
        assert verdicts["LOOKUP", ours, "prefilter", "ENOENT"] == 40
        assert (
            sum(
                count
                for (opcode, who, *_), count in verdicts.items()
                if (opcode, who) == ("OPEN", ours)
            )
            == 20
        )
    assert probes() == before


def test_doctor_finds_all_that_attach_needs() -> None:
    done = fusebpf("doctor", "--json", "--for", "attach", "--for", "compile", "--for", "trace")
    told = json.loads(done.stdout)
    json_schemas.check("doctor", told)
    assert done.returncode == 0, [entry for entry in told if entry["state"] != "ok"]
    assert {entry["state"] for entry in told} == {"ok"}
    assert f"type {features.require().fs_type}, " in done.stdout
