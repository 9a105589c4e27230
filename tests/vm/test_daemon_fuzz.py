# SPDX-License-Identifier: MIT
"""A daemon that answers nonsense: afterwards the log is clean, nobody waits, the mount works.

FUSEBPF_REPLIES sets how many random messages to send; without it the test runs for 15 seconds.
FUSEBPF_SEED repeats a run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from fusebpf.abi import OPS
from fusebpf.abi.protocol import bpf_response_ioctl
from fusebpf.daemon import Device, Server, mount, wire
from fusebpf.runtime.fsmount import umount
from tests.vm import daemonkit as kit
from tests.vm import random_ops

REPLIES = int(os.environ.get("FUSEBPF_REPLIES", "0"))
SEED = int(os.environ.get("FUSEBPF_SEED", str(random.randrange(1 << 32))))
SLICE_S = 15
#: Before a request is ended it gets fewer messages than this; one a request would be slow.
NONSENSE = 32


class Sane(kit.Passthrough):
    """The passthrough; its filters go on."""

    def __getattr__(self, name: str) -> Any:
        if name.endswith(("_pre", "_post")):
            return lambda *_args: None
        raise AttributeError(name)


class Fuzzer:
    """Reads requests, sends nonsense, and in the end something that ends each."""

    def __init__(self, device: Device, verdicts: kit.Verdicts, lower: Path) -> None:
        self.device = device
        self.verdicts = verdicts
        self.sane = Server(Sane(lower), device)
        self.rng = random.Random(SEED)
        self.sent = 0
        self.taken = 0
        self.quiet = threading.Event()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            while True:
                if not select.select([self.device.fd], [], [], 0.2)[0]:
                    continue
                raw = self.device.read()
                if raw is not None:
                    self._one(raw)
        except EOFError:
            pass
        except BaseException as error:
            traceback.print_exc()
            self.failure = error

    def _one(self, raw: bytes) -> None:
        message = wire.parse(raw)
        if self.quiet.is_set() or message.name in ("init", "forget", "batch_forget", "interrupt"):
            self._sanely(raw)
            return
        if self.rng.random() < 0.05:
            op = self.rng.choice(list(OPS))
            self.verdicts.set(op, self.rng.choice([0, 0, 1, 2, 3, 4]))
        for _ in range(self.rng.randrange(NONSENSE)):
            self._send(self._nonsense(message.call.unique))
        if self.rng.random() < 0.6:
            self._sanely(raw)
        else:
            with contextlib.suppress(OSError):
                self.device.write(wire.reply(message.call.unique, -self.rng.randrange(1, 512)))

    def _sanely(self, raw: bytes) -> None:
        with contextlib.suppress(OSError):  # nonsense may have ended it
            self.sane._begin(raw)

    def _nonsense(self, unique: int) -> bytes:
        """A message that is wrong in one of many ways, or by luck is not."""
        rng: random.Random = self.rng
        body: bytes
        size = rng.choice([0, 1, 8, 16, 24, 40, 104, 128, 144, 152, 176, 200, 256, 280, 4112, 9000])
        body = rng.randbytes(size) if rng.random() < 0.5 else bytes(size)
        if rng.random() < 0.3:  # entries after something like a struct fuse_entry_out
            body = struct.pack("<Q", rng.choice([0, 1, 2, 9])) + bytes(120)
            for _ in range(rng.randrange(4)):
                kind = rng.choice([0, 1, 1, 2, 3, 4, 5])
                body += struct.pack("<IIQQ", kind, rng.choice([0, 0, 0, 1]), 0, rng.randrange(20))
        error = rng.choice([0, 0, 0, 0, 1, 2, 3, 4, 5, 6, -1, -511, -512, -4096, 1 << 30])
        number = rng.choice(
            [unique, unique, unique, unique + 1, unique + 2, rng.getrandbits(64), 0]
        )
        length = 16 + len(body) + rng.choice([0, 0, 0, 0, 1, -1, 1 << 30])
        raw = struct.pack("<IiQ", length & 0xFFFFFFFF, error, number & (1 << 64) - 1) + body
        return raw[: rng.randrange(len(raw) + 1)] if rng.random() < 0.1 else raw

    def _send(self, raw: bytes) -> None:
        self.sent += 1
        try:
            if self.rng.random() < 0.5:
                number = len(raw) if self.rng.random() < 0.9 else self.rng.randrange(16384)
                buffer = bytearray(raw.ljust(number, b"\0"))
                fcntl.ioctl(self.device.fd, bpf_response_ioctl(number), buffer)
            else:
                os.write(self.device.fd, raw)
            self.taken += 1
        except OSError:
            pass


def waiting(pid: int) -> str:
    """Where in the kernel a process waits, when it does."""
    try:
        return Path(f"/proc/{pid}/stack").read_text()
    except OSError as error:
        return str(error)


@pytest.mark.timeout(0 if REPLIES else 120)
def test_nonsense_from_a_daemon(tmp_path: Path) -> None:
    lower, mnt, stop = tmp_path / "lower", tmp_path / "mnt", tmp_path / "stop"
    (lower / "dir").mkdir(parents=True)
    mnt.mkdir()
    verdicts = kit.Verdicts()
    print(f"seed {SEED}")
    try:
        verdicts.reset()
        rng = random.Random(SEED)
        for op in OPS:
            verdicts.set(op, rng.choice([1, 2, 4]))
        with Device() as device:
            mount(device, mnt, lower=lower, root_bpf_link=verdicts.link.fd)
            fuzzer = Fuzzer(device, verdicts, lower)
            workers = [
                subprocess.Popen(
                    [sys.executable, random_ops.__file__, mnt, stop, str(SEED + number)]
                )
                for number in range(3)
            ]
            try:
                end = time.monotonic() + SLICE_S
                while fuzzer.sent < REPLIES if REPLIES else time.monotonic() < end:
                    assert fuzzer.failure is None, fuzzer.failure
                    time.sleep(0.2)
                fuzzer.quiet.set()
                verdicts.reset()
                stop.touch()
                end = time.monotonic() + 30
                while any(worker.poll() is None for worker in workers):
                    assert fuzzer.failure is None, fuzzer.failure
                    assert time.monotonic() < end, [waiting(worker.pid) for worker in workers]
                    time.sleep(0.2)
                assert [worker.returncode for worker in workers] == [0, 0, 0]
                # Nothing has aborted the connection, so the mount works as before
                (mnt / "after").write_text("still here")
                assert (lower / "after").read_text() == "still here"
                assert "after" in os.listdir(mnt)
            finally:
                for worker in workers:
                    worker.kill()
                umount(mnt, lazy=True)
        fuzzer.thread.join(30)
        assert not fuzzer.thread.is_alive()
        assert fuzzer.failure is None, fuzzer.failure
        print(f"{fuzzer.sent} messages, {fuzzer.taken} taken")
        assert fuzzer.sent > 100
    finally:
        verdicts.close()
