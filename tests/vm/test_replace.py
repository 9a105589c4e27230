# SPDX-License-Identifier: MIT
"""`replace`: other filters on a live mount, its maps kept, nothing let through between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fusebpf.build import build_file
from fusebpf.errors import FusebpfError, UnsupportedKernelError, UsageError
from fusebpf.runtime import attach, detach, mounts, replace, replacing, sysbpf
from fusebpf.runtime import load as loading
from fusebpf.runtime.load import VerifierError
from fusebpf.runtime.maps import Maps
from tests.unit import json_schemas
from tests.vm import kernelkit as kit
from tests.vm.attach_objects import fusebpf, handwritten, nothing_left

REPLACEMENTS = int(os.environ.get("FUSEBPF_REPLACEMENTS", "6"))

# Both hide .env and count opens in one map; each hides a name of its own, too.
FILTERS = """from fusebpf import Context, FilterSet, Name, OpenIn
from fusebpf.constants import ENOENT
from fusebpf.types import u32, u64

filters = FilterSet("SET")
opens = filters.hash("opens", key=u32, value=u64, max_entries=64)
note = filters.array("note", value=u64, max_entries=ENTRIES)

@filters.lookup.pre
def hide(ctx: Context, name: Name):
    if name == ".env" or name == "only-SET":
        return -ENOENT

@filters.open.pre
def count(ctx: Context, req: OpenIn):
    opens[ctx.uid] += 1
    note[0] += 1
"""


def filter_file(directory: Path, name: str, entries: int = 4) -> Path:
    path = directory / f"{name}-{entries}.py"
    path.write_text(FILTERS.replace("SET", name).replace("ENTRIES", str(entries)))
    return path


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Objects of the sets `one` and `two`, and of `two` with a larger map."""
    directory = tmp_path_factory.mktemp("replace")
    return {
        "one": build_file(filter_file(directory, "one")).path,
        "two": build_file(filter_file(directory, "two")).path,
        "wide": build_file(filter_file(directory, "two", 8)).path,
    }


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    directory = tmp_path / "lower"
    directory.mkdir()
    for name in ("plain", ".env", "only-one", "only-two"):
        (directory / name).write_text(f"content of {name}\n")
    return directory


def in_force(mnt: Path) -> str:
    """Which set hides its name; both hide .env."""
    assert not (mnt / ".env").exists()
    assert (mnt / "plain").exists()
    hidden = [name for name in ("one", "two") if not (mnt / f"only-{name}").exists()]
    assert len(hidden) == 1, hidden
    return hidden[0]


def test_new_filters_old_entries(objects: dict[str, Path], lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(objects["one"], lower, mnt) as mount:
        for _ in range(3):
            (mnt / "plain").read_text()
        mount.maps["note"][2] = 77
        assert in_force(mnt) == "one"
        before = mounts.ls()[0]
        done = fusebpf("replace", mnt, objects["two"])
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert in_force(mnt) == "two"
        (after,) = mounts.ls()
        assert (after.filter_set, after.link_id, after.name) == ("two", before.link_id, before.name)
        (mnt / "plain").read_text()
        assert mount.maps["opens"][os.getuid()] == 4, "the map that was open before is in use"
        with mounts.open(mnt) as found:
            assert found.maps["note"][2] == 77
            assert found.maps["opens"][os.getuid()] == 4


def test_what_is_not_kept_is_said(objects: dict[str, Path], lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(objects["one"], lower, mnt) as mount:
        mount.maps["opens"][5] = 6
        mount.maps["note"][1] = 2
        done = fusebpf("replace", mnt, objects["wide"])
        assert done.returncode == 0
        was, now = "array u32 -> u64 of 4", "array u32 -> u64 of 8"
        assert done.stderr == f"note: map note is not kept: it was {was} and is {now}\n"
        assert mount.maps["opens"][5] == 6
        with mounts.open(mnt) as found:
            assert (found.maps["opens"][5], found.maps["note"][1]) == (6, 0)
        bare = mnt.parent / "bare.py"
        bare.write_text(
            "from fusebpf import FilterSet, Context, Name\nfrom fusebpf.constants import ENOENT\n"
            'filters = FilterSet("bare")\n@filters.lookup.pre\n'
            'def hide(ctx: Context, name: Name):\n    if name == ".env":\n        return -ENOENT\n'
        )
        done = fusebpf("replace", "--json", mnt, bare)
        told = json.loads(done.stdout)
        json_schemas.check("replace", told)
        assert told["filter_set"] == "bare"
        assert told["lost"]["opens"] == "the new filters have no map of this name"
        assert not (mnt / ".env").exists()
        assert (mnt / "only-two").exists()


def test_fresh_maps_are_there_before_the_first_operation(
    objects: dict[str, Path], lower: Path, mnt: Path
) -> None:
    with nothing_left(), attach(objects["one"], lower, mnt) as mount:
        mount.maps["note"][2] = 7
        mount.maps["opens"][5] = 6

        def prepare(maps: Maps) -> None:
            assert (maps["note"][2], maps["opens"][5]) == (0, 6)
            assert in_force(mnt) == "one"
            maps["note"][2] = 8

        done = replace(mnt, objects["two"], fresh=["note"], prepare=prepare)
        assert (done.kept, done.lost) == (("opens",), {})
        assert (in_force(mnt), mount.maps["note"][2]) == ("two", 7)
        with mounts.open(mnt) as found:
            assert found.maps["note"][2] == 8

        def fail(maps: Maps) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            replace(mnt, objects["one"], prepare=fail)
        assert in_force(mnt) == "two"


def test_failures_leave_the_old_filters(
    objects: dict[str, Path], lower: Path, mnt: Path, tmp_path: Path
) -> None:
    wild = handwritten(tmp_path, "lookup_prefilter", "return *(int *)(args[0] + 4096);", "wild")
    with nothing_left(), attach(objects["one"], lower, mnt) as mount:
        mount.maps["opens"][5] = 6
        with pytest.raises(VerifierError):
            replace(mnt, wild)
        assert in_force(mnt) == "one"
        if "rename_prefilter" not in kit.form().members:
            odd = handwritten(tmp_path, "rename_prefilter", "return 0;", "move")
            with pytest.raises(UnsupportedKernelError, match="hook rename_prefilter is not served"):
                replace(mnt, odd)
        (tmp_path / "bad.py").write_text("filters = 3\n")
        assert fusebpf("replace", mnt, tmp_path / "bad.py").returncode == 3
        assert fusebpf("replace", mnt, tmp_path / "absent.py").returncode == 1
        assert fusebpf("replace", mnt, objects["two"], "--set", "no=1").returncode == 2
        assert fusebpf("replace", lower, objects["two"]).returncode == 2
        with pytest.raises(UsageError, match="is not a fuse-bpf mount"):
            replace(lower, objects["two"])
        assert in_force(mnt) == "one"
        assert mount.maps["opens"][5] == 6


def test_filters_torn_off_cannot_be_replaced(
    objects: dict[str, Path], lower: Path, mnt: Path
) -> None:
    with nothing_left(), attach(objects["one"], lower, mnt) as mount:
        fd = sysbpf.fd_by_id(sysbpf.LINK_GET_FD_BY_ID, mount.link_id)
        sysbpf.link_detach(fd)
        os.close(fd)
        with pytest.raises(FusebpfError, match="torn off by force"):
            replace(mnt, objects["two"])
        with pytest.raises(OSError, match="Input/output error"):
            (mnt / "plain").read_text()


def test_the_second_of_two_at_once_is_told(
    objects: dict[str, Path], lower: Path, mnt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process replaces the filters between our look at them and our call."""
    load = loading.load

    def late(*arguments: object) -> None:
        load(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(replacing, "load", load)
        assert fusebpf("replace", mnt, objects["two"]).returncode == 0

    with nothing_left(), attach(objects["one"], lower, mnt):
        monkeypatch.setattr(replacing, "load", late)
        with pytest.raises(FusebpfError, match="replaced or torn off meanwhile"):
            replace(mnt, objects["one"])
        assert in_force(mnt) == "two"


def busy(mnt: Path, number: int, stop: Path) -> str:
    """A program that uses files of its own until told to stop, and prints how often it opened."""
    return f"""
import os
os.chdir({str(mnt)!r})
opened = 0
name, other = "w{number}", "x{number}"
while not os.path.exists({str(stop)!r}):
    for turn in range(20):
        data = b"%d" % turn * 4096
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        assert os.write(fd, data) == len(data)
        os.fsync(fd)
        os.close(fd)
        os.rename(name, other)
        fd = os.open(other, os.O_RDONLY)
        opened += 1
        assert os.read(fd, 1 << 20) == data
        os.close(fd)
        os.stat("plain")
        for hidden in (".env", "sub/.env"):
            try:
                os.stat(hidden)
                raise SystemExit("unfiltered: " + hidden)
            except FileNotFoundError:
                pass
        os.unlink(other)
print(opened)
"""


VERIFIER = 2000
"""User of the verify job, whose opens are not counted with the others."""

VERIFY = """
runs=0
until [ $runs -gt 0 ] && [ -e "$1" ]; do
    fio --name=job --directory="$2" --size=512k --bs=4k --rw=randwrite --verify=crc32c \\
        --verify_fatal=1 --verify_state_save=0 --fsync=20 --output="$2/log" >&2 || exit
    runs=$((runs + 1))
done
echo $runs
"""


@pytest.mark.timeout(0 if "FUSEBPF_REPLACEMENTS" in os.environ else 600)
def test_many_replacements_under_load(
    objects: dict[str, Path], lower: Path, mnt: Path, tmp_path: Path
) -> None:
    """No operation fails that neither filter refuses, and every open is in the map.

    Beside processes that make, rename and remove files fio writes, and verifies what it wrote.
    """
    (lower / "sub").mkdir()
    (lower / "sub/.env").write_text("secret")
    (lower / "fio").mkdir(mode=0o777)
    (lower / "fio").chmod(0o777)
    for directory in mnt.parents[:3]:
        directory.chmod(0o755)
    stop = tmp_path / "stop"
    with nothing_left(), attach(objects["one"], lower, mnt) as mount:
        for key in range(1000, 1050):
            mount.maps["opens"][key] = key
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", busy(mnt, number, stop)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(3)
        ]
        verify = ["setpriv", f"--reuid={VERIFIER}", "sh", "-c", VERIFY, "sh"]
        workers.append(
            subprocess.Popen(
                [*verify, stop, mnt / "fio"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=mnt / "fio",
            )
        )
        try:
            for number in range(REPLACEMENTS):
                done = replace(mnt, objects[("two", "one")[number % 2]])
                assert "opens" in done.kept
                assert all(worker.poll() is None for worker in workers), number
        finally:
            stop.touch()
            results = [worker.communicate(timeout=120) for worker in workers]
        assert [error for _out, error in results] == [""] * 4
        *opened, verified = [int(out) for out, _error in results]
        assert min(*opened, verified) > 0
        entries = dict(mount.maps["opens"])
        assert entries.pop(os.getuid()) == sum(opened)
        assert entries.pop(VERIFIER) > verified
        assert entries == {key: key for key in range(1000, 1050)}
        print(f"{REPLACEMENTS} replacements, {sum(opened)} opens counted, {verified} verify jobs")
        detach(mnt)


def test_in_a_thread_of_a_program(objects: dict[str, Path], lower: Path, mnt: Path) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            replace(mnt, objects["two"])
        except BaseException as error:
            failed.append(error)

    with nothing_left(), attach(objects["one"], lower, mnt):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not failed
        assert in_force(mnt) == "two"
