# SPDX-License-Identifier: MIT
"""`fusebpf vm run` with real boots: statuses, streams, shares, and every way a run can end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf.vm.bytecode import fill
from fusebpf.vm.cache import cache_dir
from fusebpf.vm.root import root_path

pytestmark = pytest.mark.skipif(not root_path().is_dir(), reason="no guest root: make vm")

RUN = [sys.executable, "-m", "fusebpf.vm", "run", "--quiet", "--no-module", "--cpus", "1"]
TREE = Path(__file__).resolve().parents[2]


def vm(*args: str, cwd: Path = TREE, env: dict[str, str] | None = None) -> tuple[int, bytes, bytes]:
    """Run `fusebpf vm run` with ARGS; return status, stdout, stderr."""
    done = subprocess.run(
        [*RUN, *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(TREE), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def qemus(marker: Path) -> list[int]:
    """Return the processes with `marker` on their command line, QEMU's share of it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"qemu-system" in words.split(b"\0")[0] and str(marker).encode() in words:
            found.append(int(entry.name))
    return found


def wait_until_gone(marker: Path) -> None:
    deadline = time.monotonic() + 20
    while qemus(marker):
        assert time.monotonic() < deadline, "QEMU outlived its runner"
        time.sleep(0.05)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A runner whose command has started and does not end by itself."""
    with subprocess.Popen(
        [*RUN, "--share", str(tmp_path), "--", "sh", "-c", "echo ready; sleep 1000"],
        cwd=TREE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert qemus(tmp_path)
        yield process
        process.kill()


@pytest.mark.parametrize("status", [0, 3, 7])
def test_the_commands_status_is_returned(status: int) -> None:
    assert vm("--", "sh", "-c", f"exit {status}") == (status, b"", b"")


def test_streams_stay_apart_and_arguments_arrive_whole() -> None:
    words = ["two words", "a\nb", "quote\"'$x`", "", "ümlaut", "a,b=c"]
    script = 'echo to-out; echo to-err >&2; printf "%s\\0" "$@"; readlink /proc/self/fd/0'
    status, out, err = vm("--", "sh", "-c", script, "sh", *words)
    assert (status, err) == (0, b"to-err\n")
    expected = "to-out\n" + "".join(f"{word}\0" for word in words) + "/dev/null\n"
    assert out.decode() == expected


def test_ten_megabytes_arrive_complete() -> None:
    script = "head -c 10485760 /dev/urandom | tee /tmp/copy; sha256sum </tmp/copy >&2"
    status, out, err = vm("--", "sh", "-c", script)
    assert status == 0
    assert len(out) == 10 << 20
    assert hashlib.sha256(out).hexdigest().encode() == err.split()[0]


def test_the_guest_is_what_it_should_be(tmp_path: Path) -> None:
    script = """
        import json, os, shutil, fusebpf
        mounts = [line.split() for line in open("/proc/mounts")]
        print(json.dumps({
            "uid": os.getuid(), "cwd": os.getcwd(), "cpus": os.cpu_count(),
            "release": os.uname().release, "env": os.environ["FUSEBPF_VM"],
            "package": fusebpf.__file__, "python": shutil.which("python"),
            "command": shutil.which("fusebpf"), "clang": shutil.which("clang"),
            "mounted": {m[1]: m[2] for m in mounts},
            "memory": int(open("/proc/meminfo").readline().split()[1]) >> 10,
            "fd": os.listdir("/dev/fd"), "lo": open("/sys/class/net/lo/flags").read(),
        }))
    """
    program = tmp_path / "look.py"
    lines = script.strip("\n").splitlines()
    program.write_text("\n".join(line.removeprefix(" " * 8) for line in lines))
    status, out, err = vm(
        "--cpus", "2", "--memory", "700M", "--", "python", "look.py", cwd=tmp_path
    )
    assert (status, err) == (0, b"")
    seen = json.loads(out)
    assert seen["uid"] == 0
    assert seen["cwd"] == str(tmp_path)
    assert seen["cpus"] == 2
    assert 550 < seen["memory"] <= 700
    assert seen["release"] == seen["env"]
    assert seen["release"].startswith("6.12.")
    assert seen["package"] == str(TREE / "fusebpf/__init__.py")
    assert seen["python"] == "/usr/lib/fusebpf-guest/bin/python"
    assert seen["command"] == "/usr/lib/fusebpf-guest/bin/fusebpf"
    assert seen["clang"] == "/usr/bin/clang"
    assert seen["mounted"]["/sys/fs/bpf"] == "bpf"
    assert seen["mounted"]["/sys/kernel/tracing"] == "tracefs"
    assert seen["mounted"]["/sys/kernel/debug"] == "debugfs"
    assert seen["mounted"]["/tmp"] == "tmpfs"
    assert seen["mounted"]["/"] == "overlay"
    assert int(seen["lo"], 16) & 1


def test_the_working_directory_is_read_only_and_rw_reaches_the_host(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "given").write_text("from the host")
    elsewhere = tmp_path / "else,where=x"  # what QEMU's option syntax has a meaning for
    elsewhere.mkdir()
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    script = (
        f"touch here 2>/dev/null && exit 1; cat ../given 2>/dev/null && exit 2;"
        f"echo nested >sub/file; head -c 300000 /dev/zero >'{elsewhere}/big';"
        f"chmod 640 sub/file; touch '{elsewhere}/late'"
    )
    status, out, err = vm("--rw", "sub", "--rw", str(elsewhere), "--", "sh", "-c", script, cwd=work)
    assert (status, out, err) == (0, b"", b"")
    assert not (work / "here").exists()
    assert (work / "sub/file").read_text() == "nested\n"
    assert (work / "sub/file").stat().st_mode & 0o777 == 0o640
    assert (elsewhere / "big").read_bytes() == bytes(300000)
    assert (elsewhere / "late").exists()


def test_a_writable_working_directory(tmp_path: Path) -> None:
    status, _, err = vm("--rw", ".", "--", "sh", "-c", "echo x >new", cwd=tmp_path)
    assert (status, err) == (0, b"")
    assert (tmp_path / "new").read_text() == "x\n"


def test_bytecode_and_objects_are_kept_for_later_guests(tmp_path: Path) -> None:
    (tmp_path / "imported.py").write_text("values = " + repr(list(range(1000, 9000))))
    (tmp_path / "filters.py").write_text(
        "from fusebpf import *\nfrom fusebpf.constants import EPERM\n"
        f"filters = FilterSet('made_{int(time.time())}')\n"
        "@filters.open.pre\n"
        "def refuse(ctx: Context, req: OpenIn):\n    return -EPERM\n"
    )
    code = (
        "import hashlib, imported\n"
        "from fusebpf.build import build_file\n"
        "for path in imported.__cached__, build_file('filters.py').path:\n"
        "    with open(path, 'rb') as file:\n"
        "        print(hashlib.file_digest(file, 'sha256').hexdigest())"
    )
    status, out, err = vm("--", "python", "-c", code, cwd=tmp_path)
    assert (status, err) == (0, b"")
    bytecode, built = out.decode().split()
    # Other directories may have one of an earlier run that was at the same place.
    kept = cache_dir().glob(f"bytecode-{root_path().name}-*{tmp_path}/imported.*.pyc")
    assert bytecode in map(digest, kept)
    assert built in map(digest, cache_dir().glob("guest-objects/objects/*/*.bpf.o"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_every_guest_imports_is_not_compiled_there() -> None:
    code = (
        "import json, os, re, sys, click, fusebpf.compiler, tests.vm.kernelkit\n"
        "booted = int(re.search('btime (.*)', open('/proc/stat').read())[1])\n"
        "made = [module.__cached__ for module in sys.modules.values()\n"
        "        if getattr(module, '__cached__', None)]\n"
        "print(json.dumps([len(made), [m for m in made if os.stat(m).st_mtime >= booted]]))"
    )
    status, out, err = vm("--", "python", "-c", code)
    assert (status, err) == (0, b"")
    count, compiled_there = json.loads(out)
    assert count > 100
    assert compiled_there == []


def test_bytecode_follows_its_source(tmp_path: Path) -> None:
    package, made = tmp_path / "package", tmp_path / "made"
    (package / "inner").mkdir(parents=True)
    (package / "inner/module.py").write_text("value = 1\n")
    (package / "wrong.py").write_text("value = = 1\n")
    cached = [
        made / package.relative_to("/") / f"{name}.cpython-313.pyc"
        for name in ("inner/module", "wrong")
    ]
    fill(made, root_path(), [package])
    first = cached[0].read_bytes()
    assert b"value" in first
    assert str(package / "inner/module.py").encode() in first
    assert not cached[1].exists()
    fill(made, root_path(), [package])
    assert cached[0].read_bytes() == first
    (package / "inner/module.py").write_text("value = 'two'\n")
    fill(made, root_path(), [package])
    assert b"two" in cached[0].read_bytes()


def test_timeout_ends_the_machine() -> None:
    status, out, err = vm("--timeout", "3", "--", "sh", "-c", "echo begun; sleep 1000")
    assert (status, out) == (124, b"begun\n")
    assert b"still running after 3 s" in err


def test_panic_is_an_error_of_its_own_with_the_console() -> None:
    status, out, err = vm("--", "sh", "-c", "echo before; sync; echo c >/proc/sysrq-trigger")
    assert (status, out) == (125, b"before\n")
    assert b"the guest kernel panicked: sysrq triggered crash" in err
    assert b"Kernel panic - not syncing" in err
    assert b"Call Trace" in err


def test_boot_that_goes_nowhere_is_told_from_the_console() -> None:
    command = [word for word in RUN if word != "--quiet"]
    done = subprocess.run(
        [*command, "--append", "rdinit=/none root=/dev/none", "--", "true"],
        cwd=TREE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=240,
        check=False,
    )
    status, err = done.returncode, done.stderr
    assert status == 125
    assert err.count(b"trying once more") == 1
    assert b"panicked: VFS: Unable to mount root fs" in err


def test_left_over_processes_do_not_hold_the_machine() -> None:
    script = "sleep 1000 & (setsid sleep 1000 &) ; echo done"
    began = time.monotonic()
    assert vm("--timeout", "100", "--", "bash", "-c", script) == (0, b"done\n", b"")
    assert time.monotonic() - began < 100


def test_a_process_that_cannot_be_killed_does_not_hold_the_machine() -> None:
    script = """
        truncate -s 8M /tmp/disk; mkfs.ext4 -q /tmp/disk; mkdir /tmp/frozen
        modprobe loop; mount /tmp/disk /tmp/frozen; fsfreeze -f /tmp/frozen
        touch /tmp/frozen/file & while ! grep -q "State:.D" /proc/$!/status; do sleep 0.1; done
        echo stuck; exit 4
    """
    status, out, _ = vm("--timeout", "100", "--", "bash", "-c", script)
    assert (status, out) == (4, b"stuck\n")


def test_statuses_of_commands_that_cannot_run() -> None:
    status, _, err = vm("--", "no-such-command")
    assert status == 127
    assert b"cannot run no-such-command: No such file" in err


def test_killed_command_gives_its_signal() -> None:
    assert vm("--", "sh", "-c", "kill -9 $$")[0] == 137


def test_a_kernel_given_by_path(tmp_path: Path) -> None:
    image = next(root_path().glob("boot/vmlinuz-*"))
    (tmp_path / "boot").mkdir()
    shutil.copy(image, tmp_path / "boot/vmlinuz")
    tree = next((root_path() / "lib/modules").iterdir())
    (tmp_path / "lib/modules").mkdir(parents=True)
    (tmp_path / "lib/modules" / tree.name).symlink_to(tree)
    # What is made of an image at a place that is gone tomorrow is not kept with the rest.
    cache = tmp_path / "cache"
    cache.mkdir()
    for kept in (*cache_dir().glob("root-*"), *cache_dir().glob("disk-*")):
        (cache / kept.name).symlink_to(kept)
    status, out, err = vm(
        *("--kernel", str(tmp_path / "boot/vmlinuz"), "--", "modprobe", "-v", "loop"),
        env={"FUSEBPF_CACHE": str(cache)},
    )
    assert status == 0, err
    assert b"loop.ko" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_machine(
    started: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    started.send_signal(number)
    assert started.wait(timeout=20) == 128 + number
    assert qemus(tmp_path) == []


def test_a_killed_runner_takes_its_machine_along(
    started: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    started.kill()
    started.wait(timeout=20)
    wait_until_gone(tmp_path)


def test_a_closed_pipe_ends_the_run(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*RUN, "--share", str(tmp_path), "--", "yes"],
        cwd=TREE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(timeout=30) == 128 + signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert qemus(tmp_path) == []


def test_two_machines_at_once(tmp_path: Path) -> None:
    command = [*RUN, "--rw", str(tmp_path), "--", "sh", "-c", f"echo $0 >{tmp_path}/$0"]
    running = [
        subprocess.Popen([*command, name], cwd=TREE, stdin=subprocess.DEVNULL) for name in "ab"
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "a\n", "b": "b\n"}
