# SPDX-License-Identifier: MIT
"""The libvirt of the tests keeps to its namespaces, and what it left outside would be seen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vagrant.conftest import TREE

DAEMONS = ("virtlogd", "libvirtd", "virsh")
DYING_MOUNT = """#!/bin/sh
# A mount at which all of it is killed: the one of the number in $DIES.
echo mount >>"$LOG"
[ "$(wc -l <"$LOG")" != "$DIES" ] || kill -KILL "$PPID"
exec /usr/bin/mount "$@"
"""


def private(tmp_path: Path, dies: int) -> subprocess.CompletedProcess[str]:
    """Run private_libvirt.sh with daemons that do nothing; show its settings of QEMU."""
    programs, scratch, temporary = (tmp_path / name for name in ("bin", "scratch", "tmp"))
    for path in (programs, scratch, temporary):
        path.mkdir()
    for name, text in {"mount": DYING_MOUNT, **dict.fromkeys(DAEMONS, "#!/bin/sh\n")}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    apart = ("unshare", "--mount", "--propagation", "private", "--net")
    return subprocess.run(
        [*apart, TREE / "vagrant/private_libvirt.sh", scratch, "cat", "/etc/libvirt/qemu.conf"],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "TMPDIR": str(temporary),
            "LOG": str(tmp_path / "log"),
            "DIES": str(dies),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_takes_no_part_in_what_is_the_hosts_alone(tmp_path: Path) -> None:
    done = private(tmp_path, dies=0)
    assert done.returncode == 0, done.stderr
    settings = done.stdout.splitlines()
    assert "cgroup_controllers = []" in settings
    assert 'security_driver = "none"' in settings


@pytest.mark.parametrize("mount", [1, 2, 3, 6])
def test_killed_while_it_mounts_it_leaves_nothing(tmp_path: Path, mount: int) -> None:
    settings = sorted(Path("/etc/libvirt").rglob("*"))
    assert private(tmp_path, dies=mount).returncode != 0
    assert len((tmp_path / "log").read_text().splitlines()) == mount
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list((tmp_path / "scratch").iterdir()) == []
    assert sorted(Path("/etc/libvirt").rglob("*")) == settings


def test_a_profile_of_apparmor_that_stayed_is_seen() -> None:
    script = """
        mount -t tmpfs none /etc
        mkdir -p /etc/apparmor.d/libvirt
        touch /etc/apparmor.d/libvirt/libvirt-0123
        mount -t tmpfs none /sys/kernel/security
        mkdir /sys/kernel/security/apparmor
        printf 'man (enforce)\nlibvirt-0123 (enforce)\n' >/sys/kernel/security/apparmor/profiles
        exec "$@"
    """
    show = "import runpy, sys; print(*runpy.run_path(sys.argv[1])['traces'](), sep='\\n')"
    command = [sys.executable, "-c", show, str(TREE / "vagrant/test.py")]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()
    assert "file /etc/apparmor.d/libvirt/libvirt-0123" in found
    assert [line for line in found if line.startswith("profile")] == [
        "profile libvirt-0123 (enforce)"
    ]
