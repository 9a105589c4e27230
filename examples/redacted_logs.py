# SPDX-License-Identifier: MIT
"""Digits in log files read as `#`: who works below the mount sees no number of a card or phone.

    python examples/redacted_logs.py LOWER MOUNTPOINT

A filter sees no contents, so reads of logs are left to this daemon; everything else is served by
the kernel. Sizes and offsets stay. Nobody writes, makes, moves, links or removes a log.

Logs are what ends in `.log`: one that is rotated below, to `app.log.1`, is shown as it is. Files
are told apart by st_ino alone, which subvolumes of btrfs have in common: mount one of them.
"""

from __future__ import annotations

import os
import sys

import fusebpf
from fusebpf import (
    CONTINUE,
    USER,
    USER_POSTFILTER,
    Buffer,
    Context,
    EntryOut,
    FilterSet,
    LinkIn,
    Name,
    OpenIn,
    OpenOut,
    ReadIn,
    ReleaseIn,
    Verdict,
)
from fusebpf.constants import EPERM
from fusebpf.daemon import Call, Daemon, Device, serve

filters = FilterSet("redacted_logs")
LOG = 1
TYPE, DIRECTORY, FILE = 0o170000, 0o040000, 0o100000


@filters.lookup.post
def mark(ctx: Context, name: Name, out: EntryOut, entries: Buffer) -> Verdict:
    log = name.endswith(".log") and out.attr.mode & TYPE == FILE
    ctx.tag = LOG if log else 0
    # The daemon opens logs by the numbers that it gives them and their directories.
    asked = ctx.error_in == 0 and (log or out.attr.mode & TYPE == DIRECTORY)
    return USER_POSTFILTER if asked else CONTINUE


@filters.open.pre
def leave(ctx: Context, req: OpenIn) -> Verdict:
    return USER if ctx.tag == LOG else CONTINUE


@filters.writable
def other_file(ctx: Context) -> bool:
    return ctx.tag != LOG


@filters.creatable
@filters.deletable
def other_name(ctx: Context, name: Name) -> bool:
    return not name.endswith(".log")


@filters.link.pre
def one_name(ctx: Context, req: LinkIn, name: Name) -> Verdict:
    return -EPERM if ctx.tag == LOG else CONTINUE


DIRECT_IO = 1  # FOPEN_DIRECT_IO: no page of ours is kept when the log grows below
MASKED = bytes.maketrans(b"0123456789", b"##########")


class Redacting(Daemon):
    """Serves the logs."""

    def __init__(self, lower: str) -> None:
        self._files = {1: os.open(lower, os.O_PATH)}
        self._lookups = {1: 1}

    def lookup_post(self, call: Call, name: Name, out: EntryOut, _entries: Buffer) -> None:
        fd = os.open(name.raw, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._files[call.nodeid])
        out.nodeid = os.fstat(fd).st_ino
        if out.nodeid in self._files:
            os.close(fd)
        else:
            self._files[out.nodeid] = fd
        self._lookups[out.nodeid] = self._lookups.get(out.nodeid, 0) + 1

    def forget(self, nodeid: int, nlookup: int) -> None:
        self._lookups[nodeid] -= nlookup
        if self._lookups[nodeid] == 0:
            del self._lookups[nodeid]
            os.close(self._files.pop(nodeid))

    def open(self, call: Call, _req: OpenIn) -> OpenOut:
        fd = os.open(f"/proc/self/fd/{self._files[call.nodeid]}", os.O_RDONLY)
        return OpenOut(fh=fd, open_flags=DIRECT_IO)

    def read_iter(self, _call: Call, req: ReadIn) -> bytes:
        return os.pread(req.fh, req.size, req.offset).translate(MASKED)

    def release(self, _call: Call, req: ReleaseIn) -> None:
        os.close(req.fh)


def main() -> None:
    lower, mountpoint = sys.argv[1:]
    with Device() as device, fusebpf.attach(filters, lower, mountpoint, daemon_fd=device.fd):
        print("serving; Ctrl-C ends it", flush=True)
        serve(Redacting(lower), device)


if __name__ == "__main__":
    main()
