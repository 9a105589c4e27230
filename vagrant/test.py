# SPDX-License-Identifier: MIT
"""`make vagrant-test`: the Vagrant machines from up to destroy, in a libvirt of their own.

    test.py [--interrupt N] [patched] [stock] [-- PYTEST OPTIONS]

Everything runs in namespaces: whether the tests end, fail, are interrupted or killed, domains,
volumes, networks and processes end with them. `--interrupt N` shows it: N runs are killed at random
moments and the machine is looked over after each, then one run must pass.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from fusebpf.vm.isolate import run_isolated

TREE = Path(__file__).resolve().parent.parent
SCRATCH = TREE / "build/vagrant/scratch"
NAMES = ("patched", "stock")
PROFILES = Path("/sys/kernel/security/apparmor/profiles")
_FIRST_MOMENT, _LAST_MOMENT = 1.0, 120.0
_WAYS = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


def run(names: list[str], options: list[str]) -> int:
    """Run the tests of these machines."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    report = TREE / "build/junit/vagrant.xml"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "timeout=1800"]
    command += [f"--junitxml={report}", "tests/vagrant", *options]
    env = {**os.environ, "FUSEBPF_VAGRANT": ",".join(names), "PYTHONUNBUFFERED": "1"}
    os.chdir(TREE)

    def unwind(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, unwind)
    return run_isolated(
        [str(TREE / "vagrant/private_libvirt.sh"), str(SCRATCH), *command],
        env,
        lambda line: print(line, end="", flush=True),
        network=False,
    )


def traces() -> set[str]:
    """What libvirt and Vagrant leave where they do leave things: here there must be no more."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                inside = (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(SCRATCH).encode() in inside or b"fusebpf_" in b" ".join(words):
                found.add(f"process {words[0].decode(errors='replace')}")
    found |= {f"link {entry.name}" for entry in Path("/sys/class/net").iterdir()}
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found |= {f"mount {line.split()[4]}" for line in mounts if str(SCRATCH) in line}
    libvirts = [f"{place}/libvirt" for place in ("/run", "/var/lib", "/etc", "/var/log")]
    places = (*libvirts, "/etc/apparmor.d/libvirt", "/sys/fs/cgroup/machine")
    for place in (*places, str(SCRATCH), str(TREE / "vagrant/.vagrant")):
        found |= {f"file {path}" for path in Path(place).rglob("*")}
    if PROFILES.is_file():
        loaded = PROFILES.read_text().splitlines()
        found |= {f"profile {line}" for line in loaded if line.startswith("libvirt-")}
    return found


def interrupted(names: list[str], times: int) -> list[str]:
    """Kill runs at random moments; return what any of them left."""
    problems = []
    for turn in range(1, times + 1):
        before = traces()
        moment = random.uniform(_FIRST_MOMENT, _LAST_MOMENT)
        number = _WAYS[turn % len(_WAYS)]
        with subprocess.Popen([sys.executable, __file__, *names], start_new_session=True) as child:
            try:
                status = child.wait(moment)
            except subprocess.TimeoutExpired:
                child.send_signal(number)
            else:
                problems.append(f"run {turn} ended by itself, with {status}")
        deadline = time.monotonic() + 20
        while (left := traces() - before) and time.monotonic() < deadline:
            time.sleep(0.1)  # the kernel is ending the namespace
        told = f"{number.name} after {moment:.1f} s: {', '.join(sorted(left)) or 'nothing left'}"
        print(f"vagrant-test: interrupt {turn}: {told}", flush=True)
        problems += sorted(left)
    return problems


def main() -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description="Test the Vagrant machines.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--interrupt", type=int, default=0, metavar="N", help="kill N runs first")
    # argparse would take what follows "--" for names
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    known, options = parser.parse_args(words[:end]), words[end + 1 :]
    names = known.names or [
        name for name in NAMES if (TREE / "build/vagrant" / name / "box").is_file()
    ]
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"no machine {unknown[0]}: {', '.join(NAMES)}")
    if not names:
        print("vagrant-test: there is no box: run `make vagrant-box` as root", file=sys.stderr)
        return 1
    if os.geteuid() != 0:
        print("vagrant-test: root is needed (namespaces, libvirt)", file=sys.stderr)
        return 1
    if problems := interrupted(names, known.interrupt):
        print("vagrant-test:", "; ".join(problems), file=sys.stderr)
        return 1
    return run(names, options)


if __name__ == "__main__":
    sys.exit(main())
