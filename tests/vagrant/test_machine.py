# SPDX-License-Identifier: MIT
"""What one does in a machine, over ssh: look it over, write a filter, use it, reboot."""

from __future__ import annotations

import re

import pytest

from tests.vagrant.conftest import TREE, Machine

FSTAB = "/srv/data /mnt/data fuse_bpf filter=/etc/fusebpf/guard.bpf.o 0 0\n"


def first_filter() -> str:
    """Return the README's first filter, as a reader copies it."""
    text = (TREE / "README.md").read_text()
    found = re.search(r"## A first filter\n.*?```python\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def data(machine: Machine) -> Machine:
    """The machine with a lower directory, a mount point and the filter in the home of root."""
    machine.do("mkdir -p /srv/data /mnt/data /etc/fusebpf")
    machine.do("echo open >/srv/data/readme; echo secret >/srv/data/id_rsa")
    machine.do("cat >/root/guard.py", first_filter())
    return machine


def test_is_the_kernel_that_it_says(machine: Machine) -> None:
    release = machine.do("uname -r").strip()
    assert "fuse_bpf" not in machine.do("cat /proc/filesystems").split(), "none was mounted yet"
    if machine.name == "patched":
        assert release.endswith("-fusebpf")
        assert "fuse_ops" in machine.do(
            "bpftool btf dump file /sys/kernel/btf/vmlinux | grep -w fuse_ops"
        )
    else:
        assert release.endswith("-amd64")
        assert "/updates/dkms/" in machine.do("modinfo --field filename fusebpf")


def test_the_doctor_finds_nothing_missing(machine: Machine) -> None:
    purposes = ("compile", "attach", "trace", "module")  # not for a VM in the VM
    machine.do("fusebpf doctor " + " ".join(f"--for {purpose}" for purpose in purposes))


def test_no_unit_failed(machine: Machine) -> None:
    machine.ssh("systemctl is-system-running --wait")
    assert machine.do("systemctl --failed --no-legend --plain") == ""


def test_first_filter_attached_replaced_detached(data: Machine) -> None:
    data.do("fusebpf attach /root/guard.py /srv/data /mnt/data")
    assert data.do("ls /mnt/data") == "id_rsa\nreadme\n"  # LOOKUP is filtered, READDIR is not
    assert data.ssh("cat /mnt/data/id_rsa")[0] != 0
    assert data.do("cat /mnt/data/readme") == "open\n"
    status, _, err = data.ssh("echo more >>/mnt/data/readme")
    assert status != 0
    assert "Read-only file system" in err
    assert "/mnt/data" in data.do("fusebpf ls")

    weaker = first_filter().replace('{".env", "id_rsa"}', '{".env"}')
    assert weaker != first_filter()
    data.do("cat >/root/weaker.py", weaker)
    data.do("fusebpf replace /mnt/data /root/weaker.py")
    assert data.do("cat /mnt/data/id_rsa") == "secret\n"

    data.do("fusebpf detach /mnt/data")
    assert data.do("ls /mnt/data") == ""


def test_the_mount_of_fstab_comes_back(data: Machine) -> None:
    data.do("fusebpf compile /root/guard.py -o /etc/fusebpf/guard.bpf.o")
    data.do("cat >>/etc/fstab", FSTAB)
    data.reboot()
    assert data.do("systemctl is-active mnt-data.mount") == "active\n"
    assert data.do("cat /mnt/data/readme") == "open\n"
    assert data.ssh("cat /mnt/data/id_rsa")[0] != 0
    assert data.do("systemctl --failed --no-legend --plain") == ""


def test_examples_that_came_with_the_package_verify(machine: Machine) -> None:
    for name in ("hide_secrets", "read_only", "audit_opens"):
        machine.do(f"cd /usr/share/doc/fusebpf/examples && fusebpf check {name}.py")
