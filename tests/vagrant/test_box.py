# SPDX-License-Identifier: MIT
"""vagrant/box.py with an mmdebstrap that runs the hook and then never ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vagrant.conftest import TREE

MMDEBSTRAP = """#!/bin/sh
for word; do
	case $word in
	--customize-hook=*) sh -c "${word#*=}" exec "a root" ;;
	esac
done
echo "I: hook ended"
exec sleep infinity
"""
CODE = """
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, sys.argv[1])
import box

top = Path(sys.argv[2])
box.BUILT, box.PACKAGES, box.CUSTOMIZE = top / "built", top / "packages", top / "it's customized"
box._NEEDED_BYTES = 0
box.debootstrap.mirror.sources = lambda suite: []
# No guest is needed to know how libvirt should run machines.
box.prepare = lambda *words, **options: SimpleNamespace(boot=None, disk=None, root=None)
box.MachineSpec = box.accelerator = lambda *words, **options: "kvm"
sys.argv[1:] = ["stock"]
sys.exit(box.main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_box_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    top = tmp_path / "it's here"
    for name in ("bin", "cache", "temporary", "packages"):
        (top / name).mkdir(parents=True)
    (top / "bin/mmdebstrap").write_text(MMDEBSTRAP)
    (top / "it's customized").write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$SAID"\n')
    for program in ("bin/mmdebstrap", "it's customized"):
        (top / program).chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{top / 'bin'}:{os.environ['PATH']}",
        "TMPDIR": str(top / "temporary"),
        "FUSEBPF_CACHE": str(top / "cache"),
        "SAID": str(top / "said"),
    }
    command = [sys.executable, "-c", CODE, str(TREE / "vagrant"), str(top)]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr
        told = []
        for line in child.stderr:
            told.append(line)
            if "hook ended" in line:
                break
        try:
            assert "hook ended" in told[-1], told
            key = next((top / "cache").glob("box-stock-*.tmp-*/key.pub"))
            assert (top / "said").read_text().splitlines() == ["a root", str(key), "fusebpf-stock"]
            child.send_signal(number)
            assert child.wait(30) == 128 + number
        finally:
            child.kill()
    assert list((top / "temporary").iterdir()) == []
    assert list((top / "cache").glob("*.tmp-*")) == []
