# SPDX-License-Identifier: MIT
"""The pool of the Vagrant machines: filled whole or again, emptied when nobody needs it."""

from __future__ import annotations

import fcntl
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
VOLUME = "box-stock-0123"


@dataclass(frozen=True)
class Pool:
    """A pool of the virsh beside this file, as vagrant/pool.sh handles it."""

    state: Path

    def run(self, *words: str | Path, dies: str = "nothing") -> subprocess.CompletedProcess[str]:
        """Run pool.sh; `dies` begins the call of virsh that is interrupted."""
        what, *more = words
        path = f"{self.state / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            [TREE / "vagrant/pool.sh", what, self.state / "pool", self.state / "lock", *more],
            env={"PATH": path, "FAKE_VIRSH": str(self.state), "FAKE_VIRSH_DIES": dies},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def fill(self, dies: str = "nothing") -> subprocess.CompletedProcess[str]:
        """Put the box's kernel and initramfs there."""
        return self.run("fill", self.state / "box", VOLUME, dies=dies)

    def calls(self) -> list[str]:
        """What virsh was called for since this was last asked."""
        log = self.state / "log"
        lines = log.read_text().splitlines()
        log.write_text("")
        return lines


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """A libvirt that has nothing, and a box."""
    for name in ("bin", "box"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin/virsh").symlink_to(TREE / "tests/unit/fake_virsh.sh")
    (tmp_path / "domains").touch()
    (tmp_path / "box/kernel").write_text("the kernel")
    (tmp_path / "box/initrd").write_text("the initramfs")
    return Pool(tmp_path)


def contents(pool: Pool) -> list[str]:
    """What lies in the pool for a machine to boot."""
    return [(pool.state / "pool" / f"{VOLUME}.{end}").read_text() for end in ("kernel", "initrd")]


WHOLE = ["the kernel", "the initramfs"]


def test_a_second_machine_of_a_box_takes_what_is_there(pool: Pool) -> None:
    assert pool.fill().returncode == 0
    assert contents(pool) == WHOLE
    pool.calls()
    assert pool.fill().returncode == 0
    assert [call for call in pool.calls() if not call.startswith(("vol-info", "pool-info"))] == []
    assert contents(pool) == WHOLE


@pytest.mark.parametrize("step", ["vol-create-as", "vol-upload"])
@pytest.mark.parametrize("file", ["kernel", "initrd"])
def test_what_an_interrupted_run_left_is_not_trusted(pool: Pool, step: str, file: str) -> None:
    between = " fusebpf" if step == "vol-create-as" else ""
    assert pool.fill(dies=f"{step}{between} {VOLUME}.{file} ").returncode != 0
    assert (pool.state / "pool" / f"{VOLUME}.{file}").read_text() not in WHOLE
    done = pool.fill()
    assert done.returncode == 0, done.stderr
    assert contents(pool) == WHOLE


def test_a_pool_that_was_defined_and_no_more_is_built(pool: Pool) -> None:
    assert pool.fill(dies="pool-define-as").returncode != 0
    done = pool.fill()
    assert done.returncode == 0, done.stderr
    assert contents(pool) == WHOLE


def test_goes_with_the_last_machine(pool: Pool) -> None:
    assert pool.fill().returncode == 0
    (pool.state / "domains").write_text("fusebpf_stock\n")
    assert pool.run("empty").returncode == 0
    assert contents(pool) == WHOLE
    (pool.state / "domains").write_text("of somebody else\n")
    done = pool.run("empty")
    assert done.returncode == 0, done.stderr
    for name in ("pool", "defined", "running"):
        assert not (pool.state / name).exists()


def test_has_libvirt_to_itself(pool: Pool) -> None:
    assert pool.fill().returncode == 0
    assert pool.run("empty").returncode == 0
    calls = pool.calls()
    assert {"pool-undefine fusebpf", "pool-start fusebpf"} <= {
        call.removeprefix("free ") for call in calls
    }
    assert [call for call in calls if call.startswith("free ")] == []


def test_stays_while_a_machine_is_coming_up(pool: Pool) -> None:
    assert pool.fill().returncode == 0
    with (pool.state / "lock.up").open("w") as held, (pool.state / "lock.up").open("w") as other:
        for one in (held, other):
            fcntl.flock(one, fcntl.LOCK_SH)
        assert pool.run("empty").returncode == 0
        assert contents(pool) == WHOLE
        assert pool.fill().returncode == 0
    assert pool.run("empty").returncode == 0
    assert not (pool.state / "pool").exists()
