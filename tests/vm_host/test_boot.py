# SPDX-License-Identifier: MIT
"""Mounts that come back at boot: a machine is set up, switched off, and boots with systemd.

The second guest has what the first one left on its disk, and no module: the mounts load it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusebpf.build import build_file
from fusebpf.vm.root import root_path

pytestmark = [
    pytest.mark.skipif(not root_path().is_dir(), reason="no guest root: make vm"),
    pytest.mark.skipif(
        "FUSEBPF_BOOT" not in os.environ, reason="takes minutes when emulated: FUSEBPF_BOOT=1"
    ),
]

TREE = Path(__file__).resolve().parents[2]

SET_UP = """
set -e
modules=/lib/modules/$(uname -r)
mkdir -p $modules/updates /etc/fusebpf /srv/data /mnt/data /mnt/lazy /mnt/line /mnt/used
cp $FUSEBPF_MODULE $modules/updates/
depmod
cat >/sbin/mount.fuse_bpf <<END
#!/bin/sh
export PYTHONPYCACHEPREFIX=$PYTHONPYCACHEPREFIX
cd {tree} && exec $(command -v python) -m fusebpf.mounthelper "\\$@"
END
chmod 755 /sbin/mount.fuse_bpf
install -m 644 guard.bpf.o /etc/fusebpf/
echo open >/srv/data/readme
echo secret >/srv/data/id_rsa
cd {tree}/examples/systemd
cp mnt-data.mount /etc/systemd/system/
for kind in mount automount; do
    sed 's,/mnt/data,/mnt/lazy,' mnt-data.$kind >/etc/systemd/system/mnt-lazy.$kind
done
systemctl --quiet enable mnt-data.mount mnt-lazy.automount
cat >>/etc/fstab <<END
/srv/data  /mnt/line  fuse_bpf  filter=guard,ro  0 0
/srv/data  /mnt/used  fuse_bpf  filter=guard,noauto,x-systemd.automount  0 0
END
"""

LOOK = """
import json, os, subprocess

def mounted():
    lines = [line.split() for line in open("/proc/mounts")]
    found = {}
    for _source, at, kind, options, *_ in lines:
        if at.startswith("/mnt/"):
            found.setdefault(at, []).append(kind)
    return found

def names(at):
    return sorted(os.listdir(at))

told = {"init": os.readlink("/proc/1/exe"), "boot": mounted()}
told["names"] = {at: names(at) for at in ("/mnt/data", "/mnt/line", "/mnt/lazy", "/mnt/used")}
told["used"] = mounted()
units = ["mnt-data.mount", "mnt-line.mount", "mnt-lazy.mount", "mnt-used.mount"]
told["units"] = {
    unit: subprocess.run(
        ["systemctl", "is-active", unit], stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    for unit in units
}
try:
    open("/mnt/line/new", "w")
except OSError as error:
    told["refused"] = error.strerror
subprocess.run(["systemctl", "stop", "mnt-line.mount", "mnt-lazy.automount"], check=True)
told["stopped"] = mounted()
print(json.dumps(told))
"""


def vm(cwd: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fusebpf.vm", "run", "--quiet", "--state", "disk", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(TREE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_mounts_come_back_at_boot(tmp_path: Path) -> None:
    (tmp_path / "guard.bpf.o").write_bytes(build_file(TREE / "examples/hide_secrets.py").data)
    (tmp_path / "look.py").write_text(LOOK)
    vm(tmp_path, "--", "sh", "-c", SET_UP.format(tree=TREE))
    told = json.loads(vm(tmp_path, "--no-module", "--systemd", "--", "python", "look.py"))
    assert told["init"] == "/usr/lib/systemd/systemd"
    filtered, waiting = ["fuse_bpf"], ["autofs"]
    assert told["boot"] == {
        "/mnt/data": filtered,
        "/mnt/line": filtered,
        "/mnt/lazy": waiting,
        "/mnt/used": waiting,
    }
    assert told["names"] == {at: ["readme"] for at in told["boot"]}
    assert told["used"]["/mnt/lazy"] == told["used"]["/mnt/used"] == [*waiting, *filtered]
    assert set(told["units"].values()) == {"active"}
    assert told["refused"] == "Read-only file system"
    assert told["stopped"].keys() == {"/mnt/data", "/mnt/used"}
