# SPDX-License-Identifier: MIT
"""A splat in the guest's kernel log fails the test that was running, and no other."""

from __future__ import annotations

import pytest

from fusebpf.vm.root import root_path
from tests.vm_host.test_run import vm

pytestmark = pytest.mark.skipif(not root_path().is_dir(), reason="no guest root: make vm")

INNER = """
def say(line):
    with open("/dev/kmsg", "w") as log:
        log.write(line + "\\n")  # without it the record stays open for more

def test_quiet():
    say("a line like any other")

def test_splat():
    say("WARNING: CPU: 1 PID: 7 at fs/somewhere.c:1 f+0x1/0x2")
    say("RIP: 0010:f+0x1/0x2")

def test_after():
    pass

def test_fails():
    say("what led to it")
    assert False
"""


def test_a_failure_comes_with_the_kernels_log() -> None:
    script = (
        'printf %s "$0" >/tmp/test_inner.py;'
        "python -m pytest -q -p no:cacheprovider -p no:hypothesispytest -p tests.vm.conftest "
        "--rootdir /tmp /tmp/test_inner.py"
    )
    status, out, err = vm("--", "sh", "-c", script, INNER)
    text = out.decode()
    assert status == 1, err
    assert "1 failed, 3 passed, 1 error" in text
    assert "test_inner.py::test_splat - Failed" in text
    assert "the kernel's log has, from this test:\nWARNING: CPU: 1 PID: 7" in text
    assert "RIP: 0010:f+0x1/0x2" in text

    failed = text.partition("_ test_fails _")[2]
    log = failed.partition("kernel log, last lines")[2]
    assert "what led to it" in log
    again = ".venv/bin/fusebpf vm run --no-module --cpus 1 -- python -m pytest"
    assert f"{again} test_inner.py::test_fails\n" in log.partition(" again ")[2]
