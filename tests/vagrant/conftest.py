# SPDX-License-Identifier: MIT
"""Machines of the Vagrantfile, in the private libvirt that `make vagrant-test` gives."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
NAMES = [name for name in os.environ.get("FUSEBPF_VAGRANT", "").split(",") if name]
CONSOLE_LINES = 40


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Elsewhere there is no libvirt that may be filled and emptied at will."""
    if not NAMES:
        for item in items:
            if "tests/vagrant/" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="runs by: make vagrant-test"))


def vagrant(*arguments: str) -> str:
    """Run vagrant and return its output; what it said when it fails."""
    done = subprocess.run(
        ["vagrant", "--no-tty", *arguments],
        cwd=TREE / "vagrant",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"vagrant {arguments}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def links() -> list[str]:
    """Return the network's links; /sys would show those of the network it was mounted in."""
    return sorted(name for _, name in socket.if_nameindex())


def left() -> dict[str, list[str]]:
    """Return what libvirt has of domains, networks, pools and the files of pools."""
    kinds = {
        "domains": ("list", "--all", "--name"),
        "networks": ("net-list", "--all", "--name"),
        "pools": ("pool-list", "--all", "--name"),
    }
    found = {}
    for kind, words in kinds.items():
        listed = subprocess.run(["virsh", *words], capture_output=True, text=True, check=True)
        found[kind] = sorted(listed.stdout.split())
    found["files"] = sorted(str(path) for path in Path("/var/lib/libvirt/images").rglob("*"))
    found["links"] = links()
    return found


@dataclass
class Machine:
    """A machine that is up; `config` is what ssh needs to reach it."""

    name: str
    config: Path

    def ssh(self, command: str, given: str = "", timeout: float = 240) -> tuple[int, str, str]:
        """Run a command as root over ssh; return status, output and errors."""
        done = subprocess.run(
            ["ssh", "-F", self.config, self.name, f"sudo sh -c {shlex.quote(command)}"],
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def do(self, command: str, given: str = "", timeout: float = 240) -> str:
        """Run a command that must succeed and return its output."""
        status, out, err = self.ssh(command, given, timeout)
        assert status == 0, f"{command!r} ended with {status}:\n{out}\n{err}"
        return out

    def boot_id(self) -> str | None:
        """Return what tells one boot from another, or None while nobody answers."""
        try:
            status, out, _ = self.ssh("cat /proc/sys/kernel/random/boot_id", timeout=30)
        except subprocess.TimeoutExpired:
            return None
        return out.strip() if status == 0 else None

    def reboot(self) -> None:
        """Have the machine boot again, and wait until one can log in."""
        before = self.boot_id()
        self.ssh("systemctl reboot")
        deadline = time.monotonic() + 600
        while self.boot_id() in (before, None):
            assert time.monotonic() < deadline, "the machine did not come back in ten minutes"
            time.sleep(1)

    def tell(self) -> str:
        """Return the end of console and kernel log, and the command that repeats a test."""
        console = Path(os.environ["FUSEBPF_CONSOLE"], f"{self.name}.log")
        lines = console.read_text(errors="replace").splitlines() if console.is_file() else []
        try:
            dmesg = self.ssh(f"dmesg | tail -n {CONSOLE_LINES}", timeout=60)[1]
        except subprocess.TimeoutExpired:
            dmesg = "(no answer over ssh)"
        shown = "\n".join(lines[-CONSOLE_LINES:])
        return f"--- console of {self.name}, last lines ---\n{shown}\n--- dmesg ---\n{dmesg}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """To a failure belongs what the machine has to say."""
    report = yield
    machine = getattr(item, "funcargs", {}).get("machine")
    if report.failed and isinstance(machine, Machine):
        report.sections.append(("machine", machine.tell()))
        again = f"make vagrant-test NAME={machine.name} ARGS='-k {item.name.partition('[')[0]}'"
        report.sections.append(("repeat it", again))
    return report


@pytest.fixture(scope="module", params=NAMES or ["patched"])
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A machine from `vagrant up` to `vagrant destroy`, after which libvirt is as it was before."""
    name = str(request.param)
    before = left()
    started = time.monotonic()
    try:
        vagrant("up", name, "--provider=libvirt")
        sys.stderr.write(f"\n{name}: up after {time.monotonic() - started:.0f} s\n")
        config = tmp_path_factory.mktemp("ssh") / "config"
        config.write_text(
            vagrant("ssh-config", name).rstrip()
            + "\n  ConnectTimeout 20\n  ServerAliveInterval 5\n  ServerAliveCountMax 6\n"
        )
        yield Machine(name, config)
    finally:
        vagrant("destroy", "--force", name)
    assert left() == before
