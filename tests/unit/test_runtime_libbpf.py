# SPDX-License-Identifier: MIT
"""The libbpf binding, on the running kernel."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fusebpf.errors import FusebpfError
from fusebpf.runtime import libbpf, sysbpf
from fusebpf.runtime.libbpf import LibbpfError, Object, version
from tests.unit.runtime_objects import REFUSED, WORKING, compiled, needs_root


@pytest.fixture
def working() -> Iterator[Object]:
    with Object(compiled(WORKING), "working") as opened:
        yield opened


def test_version_is_one_that_serves_us() -> None:
    assert version() >= (1, 1)


def test_programs_maps_and_sections_are_listed(working: Object) -> None:
    assert list(working.programs) == ["double_it", "reads_trusted"]
    assert working.programs["double_it"].section == "raw_tp/double_it"
    cases = working.maps["cases"]
    assert (cases.type, cases.key_size, cases.value_size, cases.max_entries) == (2, 4, 8, 4)
    assert working.data_map(".rodata").name.endswith(".rodata")


def test_unknown_constant_and_wrong_size_are_refused(working: Object) -> None:
    with pytest.raises(KeyError):
        working.set_rodata("no_such_constant", b"\0")
    with pytest.raises(ValueError, match="factor has 4 bytes, got 1"):
        working.set_rodata("factor", b"\0")


@needs_root
def test_run_with_constants_maps_and_mmap(working: Object) -> None:
    working.set_rodata("factor", struct.pack("=I", 7))
    working.load()
    with working.maps["cases"].mmap() as cases:
        struct.pack_into("=Q", cases, 0, 100)
        assert working.programs["double_it"].run(struct.pack("=Q", 41)) == 42
        assert struct.unpack_from("=Q", cases, 0) == (100 * 7 + 5,)


@needs_root
def test_runner_repeats_and_takes_new_contexts(working: Object) -> None:
    working.load()
    runner = sysbpf.Runner(working.programs["double_it"].fd, struct.pack("=Q", 0))
    assert runner() == 1
    runner.set_ctx(struct.pack("=Q", 0xFFFFFFFF))
    assert runner() == 0
    with pytest.raises(ValueError, match="8 expected"):
        runner.set_ctx(bytes(16))


@needs_root
def test_map_elements_by_descriptor(working: Object) -> None:
    working.load()
    fd = working.maps["trusted"].fd
    key = struct.pack("=I", 1000)
    assert sysbpf.map_lookup(fd, key, 8) is None
    sysbpf.map_update(fd, key, struct.pack("=Q", 9))
    assert working.programs["reads_trusted"].run(struct.pack("=Q", 1000)) == 9
    with pytest.raises(FileExistsError):
        sysbpf.map_update(fd, key, struct.pack("=Q", 1), sysbpf.BPF_NOEXIST)
    for number in range(7):
        sysbpf.map_update(fd, struct.pack("=I", number), struct.pack("=Q", number))
    assert {struct.unpack("=I", k)[0] for k in sysbpf.map_keys(fd, 4)} == {*range(7), 1000}
    with pytest.raises(OSError, match="Argument list too long") as full:
        sysbpf.map_update(fd, struct.pack("=I", 77), bytes(8))
    assert full.value.errno == errno.E2BIG
    assert sysbpf.map_delete(fd, key)
    assert not sysbpf.map_delete(fd, key)


@pytest.mark.parametrize(("text", "count"), [("0", 1), ("0-3", 4), ("0,2-3,8-9", 5)])
def test_numbers_of_cpus_may_have_gaps(
    monkeypatch: pytest.MonkeyPatch, text: str, count: int
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _path, encoding: f"{text}\n")
    assert sysbpf.possible_cpus() == count


@needs_root
def test_per_cpu_values_have_one_slot_a_cpu(working: Object) -> None:
    working.load()
    for _ in range(5):
        working.programs["double_it"].run(bytes(8))
    size = 8 * sysbpf.possible_cpus()
    raw = sysbpf.map_lookup(working.maps["hits"].fd, bytes(4), size)
    assert raw is not None
    assert sum(struct.unpack(f"={size // 8}Q", raw)) == 5


@needs_root
def test_info_by_id_names_program_and_maps(working: Object) -> None:
    working.load()
    info = sysbpf.prog_info(working.programs["double_it"].fd)
    assert info.name == "double_it"
    assert info.verified_insns > 0
    fd = sysbpf.fd_by_id(sysbpf.PROG_GET_FD_BY_ID, info.id)
    os.close(fd)
    names = set()
    for map_id in info.map_ids:
        fd = sysbpf.fd_by_id(sysbpf.MAP_GET_FD_BY_ID, map_id)
        entry = sysbpf.map_info(fd)
        assert entry.id == map_id
        names.add(entry.name)
        os.close(fd)
    assert {"cases", "hits"} <= names
    assert info.id in set(sysbpf.ids(sysbpf.PROG_GET_NEXT_ID))


@needs_root
def test_close_takes_everything_out_of_the_kernel() -> None:
    with Object(compiled(WORKING), "working") as opened:
        opened.load()
        prog_id = sysbpf.prog_info(opened.programs["double_it"].fd).id
        program = opened.programs["double_it"]
    with pytest.raises(LibbpfError, match="closed"):
        _ = program.fd
    # Programs are freed after a grace period: wait for the id to go, not for a fixed time.
    deadline = os.times().elapsed + 10
    while prog_id in set(sysbpf.ids(sysbpf.PROG_GET_NEXT_ID)):
        assert os.times().elapsed < deadline, "the program outlived its object"


def test_close_gives_the_room_for_the_log_back() -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count("/dev/zero")

    data = compiled(WORKING)
    before = mapped()
    gc.disable()
    try:
        with Object(data, "working") as opened:
            assert opened.programs
            assert mapped() > before
        assert mapped() == before
    finally:
        gc.enable()


@needs_root
def test_autoload_off_leaves_a_program_out(working: Object) -> None:
    working.programs["reads_trusted"].autoload = False
    working.maps["trusted"].autocreate = False
    working.load()
    assert working.programs["double_it"].loaded
    assert not working.programs["reads_trusted"].loaded
    with pytest.raises(LibbpfError, match="not loaded"):
        working.programs["reads_trusted"].run(bytes(8))


@needs_root
def test_refusal_carries_program_reason_and_log() -> None:
    with Object(compiled(REFUSED), "refused") as opened, pytest.raises(LibbpfError) as caught:
        opened.load()
    error = caught.value
    assert error.errno == errno.EACCES
    assert error.program == "wild"
    assert "invalid mem access" in error.log
    assert any("failed" in reason for reason in error.reasons)


def test_rubbish_is_no_object() -> None:
    with pytest.raises(LibbpfError) as caught:
        Object(b"not an object at all" * 10, "rubbish")
    assert caught.value.reasons, "libbpf's own reason must reach the user"


def test_no_initial_value_for_an_ordinary_map(working: Object) -> None:
    with pytest.raises(LibbpfError, match="cases has no initial value"):
        working.maps["cases"].initial_value()


class _Interrupting(libbpf._Library):
    """A library during whose next message the user presses Ctrl-C."""

    armed = False

    def _on_print(self, level: int, fmt: bytes, va_list: int | None) -> int:
        if self.armed:
            self.armed = False
            os.kill(os.getpid(), signal.SIGINT)
        return super()._on_print(level, fmt, va_list)


@needs_root
def test_interrupt_inside_libbpf_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupting = _Interrupting(libbpf.library().path)
    monkeypatch.setattr(libbpf, "_library", interrupting)
    data = compiled(WORKING)
    # Whoever starts the tests in the background may have it ignored
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupting.armed = True
        with pytest.raises(KeyboardInterrupt):
            Object(data, "working")
        with Object(data, "working") as opened:
            interrupting.armed = True
            with pytest.raises(KeyboardInterrupt):
                opened.load()
    finally:
        signal.signal(signal.SIGINT, handler)
        # libbpf keeps the last callback it was given: give it that of the usual library.
        monkeypatch.undo()
        usual = libbpf.library()
        usual.call("libbpf_set_print", ctypes.cast(usual._print, ctypes.c_void_p))
    assert not interrupting.armed


def test_threads_share_one_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its callback must live as long as libbpf has it."""
    made: list[str] = []

    class Slow:
        def __init__(self, path: str) -> None:
            made.append(path)
            time.sleep(0.05)

    monkeypatch.setattr(libbpf, "_Library", Slow)
    monkeypatch.setattr(libbpf, "_library", None)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: libbpf.library(), range(4)))
    assert (len(made), len(found)) == (1, 1)


def test_missing_library_is_one_clear_error() -> None:
    script = "from fusebpf.runtime.libbpf import library\nlibrary()"
    environment = {**os.environ, "FUSEBPF_LIBBPF": "/nonexistent/libbpf.so.1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "FUSEBPF_LIBBPF=/nonexistent/libbpf.so.1" in done.stderr
    assert "unset FUSEBPF_LIBBPF" in done.stderr


def test_errors_of_the_package_are_one_family() -> None:
    assert issubclass(LibbpfError, FusebpfError)
