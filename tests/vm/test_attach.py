# SPDX-License-Identifier: MIT
"""attach, detach, ls and maps on a kernel with fuse-bpf."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusebpf.build import load_file
from fusebpf.build.clang import compile_c, find_clang
from fusebpf.build.metadata import Metadata, c_trailer
from fusebpf.errors import FusebpfError, UnsupportedKernelError, UsageError
from fusebpf.runtime import attach, detach, ls, mountinfo, mounting, mounts, sysbpf
from fusebpf.runtime.fsmount import MountError
from fusebpf.runtime.maps import Maps
from tests.unit import json_schemas
from tests.unit.documents import ROOT, python_blocks
from tests.vm import kernelkit as kit
from tests.vm.attach_objects import GUARD, fusebpf, handwritten, nothing_left
from tests.vm.limits import eventually

CYCLES = int(os.environ.get("FUSEBPF_CYCLES", "50"))


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    directory = tmp_path / "lower"
    directory.mkdir()
    for name in ("plain", ".env", "id_rsa", "server.pem"):
        (directory / name).write_text(f"content of {name}\n")
    return directory


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "mnt"
    directory.mkdir()
    yield directory
    while mountinfo.at(directory) is not None:
        subprocess.run(["umount", "-l", directory], check=True)


def test_command_line_from_file_to_detach(shared: Path, lower: Path, mnt: Path) -> None:
    with nothing_left():
        done = fusebpf("attach", shared / "guard.py", lower, mnt)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (mnt / "plain").read_text() == "content of plain\n"
        for hidden in (".env", "id_rsa", "server.pem"):
            with pytest.raises(FileNotFoundError):
                (mnt / hidden).read_text()
        with pytest.raises(OSError, match="Read-only file system"):
            (mnt / "plain").write_text("changed")
        shown = json.loads(fusebpf("show", "--json", mnt).stdout)
        json_schemas.check("show", shown)
        assert shown["maps"]["hits"]["entries"]["0"] >= 3
        assert shown["maps"]["trusted"]["entries"] == {}
        listed = json.loads(fusebpf("ls", "--json").stdout)
        json_schemas.check("ls", listed)
        (row,) = listed["mounts"]
        assert (row["mountpoint"], row["lower"], row["state"]) == (str(mnt), str(lower), "active")
        assert (row["filter_set"], row["hooks"]) == (
            "guard",
            ["open_prefilter", "lookup_prefilter"],
        )
        assert row["maps"] == ["hits", "trusted"]
        table = fusebpf("ls").stdout.splitlines()
        assert table[0].split() == ["MOUNTPOINT", "LOWER", "STATE", "DAEMON", "SET", "HOOKS"]
        assert fusebpf("detach", mnt).returncode == 0
        assert list(mnt.iterdir()) == []
    assert (lower / "plain").read_text() == "content of plain\n"


def test_python_api_reads_and_writes_maps(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left():
        with attach(guard, lower, mnt) as mount:
            with pytest.raises(OSError, match="Read-only file system"):
                (mnt / "plain").write_text("x")
            mount.maps["trusted"][os.getuid()] = 1
            (mnt / "plain").write_text("by a trusted user")
            del mount.maps["trusted"][os.getuid()]
            with pytest.raises(OSError, match="Read-only file system"):
                (mnt / "plain").write_text("x")
            before = mount.maps["hits"][0]
            assert not (mnt / ".env").exists()
            assert mount.maps["hits"][0] == before + 1
            assert sum(mount.maps["hits"].per_cpu[0]) == before + 1
        assert (lower / "plain").read_text() == "by a trusted user"


def test_the_python_of_the_page(
    shared: Path,
    documented: tuple[Path, Path],
    lower: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """That of docs/commands.md, beside a mount of somebody else."""
    (code,) = python_blocks(ROOT / "docs/commands.md")
    other, seen = Path("/mnt/other"), shared / "seen.py"
    seen.write_text(
        "from fusebpf import Context, FilterSet, OpenIn\n"
        "from fusebpf.types import u32, u64\n"
        'filters = FilterSet("seen")\n'
        'opens = filters.hash("opens", key=u32, value=u64, max_entries=8)\n'
        "@filters.open.pre\n"
        "def count(ctx: Context, req: OpenIn):\n"
        "    opens[ctx.uid] += 1\n"
    )
    other.mkdir()
    monkeypatch.chdir(shared)
    try:
        with nothing_left(), attach(seen, lower, other):
            (other / "plain").read_text()
            exec(compile(code, "docs/commands.md", "exec"), {})
            assert capsys.readouterr().out == "{0: 1}\n"
            assert mountinfo.at(documented[1]) is None, "the end of the `with` detaches"
    finally:
        other.rmdir()


def test_a_set_of_the_running_program_is_attached(shared: Path, lower: Path, mnt: Path) -> None:
    fset = load_file(shared / "guard.py").sets[0]
    with nothing_left(), attach(fset, lower, mnt):
        assert not (mnt / ".env").exists()


def test_any_process_can_open_the_maps(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left():
        attach(guard, lower, mnt).close()
        with mounts.open(mnt) as found:
            assert set(found.maps) == {"hits", "trusted"}
            found.maps["trusted"][os.getuid()] = 1
        (mnt / "plain").write_text("allowed through another process's map")
        script = (
            f"import fusebpf.runtime as r; print(r.mounts.open({str(mnt)!r}).maps['trusted'][0])"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stdout == "1\n", done.stderr
        detach(mnt)


def test_maps_are_prepared_before_the_mount_is_there(guard: Path, lower: Path, mnt: Path) -> None:
    def prepare(maps: Maps) -> None:
        assert mountinfo.at(mnt) is None
        maps["trusted"][7] = 1

    with attach(guard, lower, mnt, prepare=prepare) as mount:
        assert dict(mount.maps["trusted"]) == {7: 1}

    def fail(maps: Maps) -> None:
        raise FusebpfError("not now")

    with nothing_left(), pytest.raises(FusebpfError, match="not now"):
        attach(guard, lower, mnt, prepare=fail)
    assert mountinfo.at(mnt) is None


def test_lower_and_mount_point_may_be_one_directory(guard: Path, lower: Path) -> None:
    with nothing_left():
        with attach(guard, lower, lower):
            assert (lower / "plain").read_text() == "content of plain\n"
            assert not (lower / ".env").exists()
        assert (lower / ".env").exists()


def test_second_attach_at_one_place_is_refused(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(guard, lower, mnt):
        with pytest.raises(UsageError, match="is a fuse-bpf mount already"):
            attach(guard, lower, mnt)
        done = fusebpf("attach", guard, lower, mnt)
        assert done.returncode == 2
        assert f"fusebpf detach {mnt}" in done.stderr
        assert f"fusebpf replace {mnt}" in done.stderr
        short = fusebpf("attach", guard, mnt)
        assert short.returncode == 2
        assert f"fusebpf replace {mnt} {guard}" in short.stderr
        assert not (mnt / ".env").exists()


def test_of_two_that_attach_at_once_the_later_is_refused(
    guard: Path, lower: Path, mnt: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with nothing_left():
        with pytest.raises(UsageError, match=f"{mnt} is a fuse-bpf mount already"):
            attach(guard, lower, mnt, prepare=lambda _maps: attach(guard, other, mnt).close())
        assert mounts.status(mnt).lower == str(other)
        detach(mnt)
        assert mountinfo.at(mnt) is None


def test_one_object_on_two_mounts(guard: Path, lower: Path, mnt: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with nothing_left(), attach(guard, lower, mnt) as first, attach(guard, lower, other) as second:
        assert first.name != second.name
        first.maps["trusted"][0] = 1
        assert 0 not in second.maps["trusted"]
        assert len(ls()) == 2


def test_busy_mount_needs_lazy(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left():
        attach(guard, lower, mnt).close()
        with (mnt / "plain").open() as held:
            done = fusebpf("detach", mnt)
            assert done.returncode == 1
            assert f"{mnt} is in use" in done.stderr
            assert f"fusebpf detach --lazy {mnt}" in done.stderr
            assert not (mnt / ".env").exists(), "still there and still filtered"
            with pytest.raises(MountError) as caught:
                detach(mnt)
            assert caught.value.errno == errno.EBUSY
            assert fusebpf("detach", "--lazy", mnt).returncode == 0
            assert list(mnt.iterdir()) == []
            assert held.read() == "content of plain\n"


def test_directory_held_open_stays_filtered_after_lazy(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left():
        attach(guard, lower, mnt).close()
        directory = os.open(mnt, os.O_RDONLY | os.O_DIRECTORY)
        try:
            detach(mnt, lazy=True)
            with pytest.raises(FileNotFoundError):
                os.open(".env", os.O_RDONLY, dir_fd=directory)
            os.close(os.open("plain", os.O_RDONLY, dir_fd=directory))
        finally:
            os.close(directory)


def test_plain_umount_is_as_good(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left():
        with attach(guard, lower, mnt):
            subprocess.run(["umount", mnt], check=True)
        assert fusebpf("detach", mnt).returncode == 2


def test_forced_detach_of_the_link_fails_closed(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left():
        mount = attach(guard, lower, mnt)
        fd = sysbpf.fd_by_id(sysbpf.LINK_GET_FD_BY_ID, mount.link_id)
        sysbpf.link_detach(fd)
        os.close(fd)
        mount.close()
        with pytest.raises(OSError, match="Input/output error"):
            (mnt / "plain").read_text()
        assert [entry.state for entry in ls()] == ["dead"]
        assert f"{mnt} is dead: fusebpf detach {mnt}\n" in fusebpf("ls").stdout
        assert f"to mend it: fusebpf detach {mnt}\n" in fusebpf("show", mnt).stdout
        with pytest.raises(FusebpfError, match="torn off by force"):
            mounts.open(mnt)
        assert fusebpf("detach", mnt).returncode == 0


def test_interrupt_inside_attach_unmounts(
    guard: Path, lower: Path, mnt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = mounting._place

    def interrupted(fd: int, target: Path) -> None:
        place(fd, target)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(mounting, "_place", interrupted)
    with nothing_left(), pytest.raises(KeyboardInterrupt):
        attach(guard, lower, mnt)


def test_failures_leave_nothing(
    shared: Path, guard: Path, lower: Path, mnt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = shared / "bad.py"
    bad.write_text(GUARD.replace("return -ENOENT", "return ENOENT"))
    with nothing_left():
        assert fusebpf("attach", bad, lower, mnt).returncode == 3
        assert fusebpf("attach", shared / "absent.py", lower, mnt).returncode == 1
        assert fusebpf("attach", guard, lower / "absent", mnt).returncode == 1
        assert fusebpf("attach", guard, lower, lower / "plain").returncode == 1
        monkeypatch.setenv("FUSEBPF_CLANG", "/no/clang")
        done = fusebpf("attach", shared / "guard.py", lower, mnt)
        assert done.returncode == 1
        assert "FUSEBPF_CLANG=/no/clang is not a program" in done.stderr


def test_refused_mount_option_shows_the_kernels_words(
    guard: Path, lower: Path, mnt: Path, tmp_path: Path
) -> None:
    """A lower directory of our own type is refused by the kernel part, in its own words."""
    stacked = tmp_path / "stacked"
    stacked.mkdir()
    with nothing_left(), attach(guard, lower, mnt):
        with pytest.raises(MountError) as caught:
            attach(guard, mnt, stacked)
        assert caught.value.log, "the file system says why in its log"
        assert caught.value.log[-1] in str(caught.value)
        assert len(ls()) == 1


@pytest.mark.skipif(
    "rename_prefilter" in kit.form().members, reason="this kernel serves every hook"
)
def test_hook_that_is_not_served_is_named(lower: Path, mnt: Path, tmp_path: Path) -> None:
    odd = handwritten(tmp_path, "rename_prefilter", "return 0;", "move")
    with nothing_left():
        with pytest.raises(UnsupportedKernelError, match="hook rename_prefilter is not served"):
            attach(odd, lower, mnt)
        assert fusebpf("attach", odd, lower, mnt).returncode == 4


def test_refusal_of_the_verifier_names_filter_and_line(
    lower: Path, mnt: Path, tmp_path: Path
) -> None:
    odd = handwritten(tmp_path, "lookup_prefilter", "return *(int *)(args[0] + 4096);", "wild")
    with nothing_left():
        done = fusebpf("attach", odd, lower, mnt)
        assert done.returncode == 3
        assert "odd.py:7: filter wild: the kernel's verifier refused it: " in done.stderr


def test_object_for_another_abi_names_both(lower: Path, mnt: Path, tmp_path: Path) -> None:
    meta = Metadata("old", 99, "old.py", "0" * 64, (), (), "0", "0")
    path = tmp_path / "old.o"
    source = '#include "fusebpf.h"\nFUSEBPF_OPS("old", .default_filter = 0)\n'
    path.write_bytes(compile_c(find_clang(), source + c_trailer(meta), tmp_path))
    with nothing_left(), pytest.raises(FusebpfError, match=r"ABI 99, this fusebpf has ABI \d+"):
        attach(path, lower, mnt)


def test_check_verifies_as_struct_ops_here(shared: Path) -> None:
    with nothing_left():
        done = fusebpf("check", shared / "guard.py")
        assert done.stdout.endswith(": verified by this kernel's fuse-bpf\n"), done.stderr


def test_many_cycles_leave_nothing(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left():
        for number in range(CYCLES):
            with attach(guard, lower, mnt):
                assert not (mnt / ".env").exists(), number
                assert (mnt / "plain").exists(), number
        assert eventually(lambda: ls() == [])


def test_counts_lost_to_a_full_map_are_counted(shared: Path, lower: Path, mnt: Path) -> None:
    path = shared / "audit.py"
    path.write_text(
        "from fusebpf import Context, FilterSet, OpenIn\n"
        "from fusebpf.types import u32, u64\n"
        'filters = FilterSet("audit")\n'
        'opens = filters.hash("opens", key=u32, value=u64, max_entries=1)\n'
        "@filters.open.pre\n"
        "def count(ctx: Context, req: OpenIn):\n"
        "    opens[ctx.uid] += 1\n"
    )
    with nothing_left(), attach(path, lower, mnt) as mount:
        for _ in range(3):
            (mnt / "plain").read_text()
        assert (dict(mount.maps["opens"]), mount.maps.lost) == ({0: 3}, 0)
        for directory in mnt.parents[:3]:
            directory.chmod(0o755)
        subprocess.run(["setpriv", "--reuid=65534", "cat", mnt / "plain"], check=True)
        assert (dict(mount.maps["opens"]), mount.maps.lost) == ({0: 3}, 1)
        assert "lost, as a map was full: 1" in fusebpf("show", mnt).stdout


def test_paths_with_odd_names_and_long_ones(guard: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("long " * 40) / "tab\tand\nnewline\\" / ("x" * 200)
    deep.mkdir(parents=True)
    (deep / ".env").write_text("")
    with nothing_left(), attach(guard, deep, deep):
        (entry,) = ls()
        assert entry.mountpoint == deep
        assert not (deep / ".env").exists()
