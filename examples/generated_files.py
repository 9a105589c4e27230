# SPDX-License-Identifier: MIT
"""Files made on demand beside real ones: `now` tells the time, `reads` how often it was read.

    python examples/generated_files.py LOWER MOUNTPOINT

Everything else is served by the kernel, which asks this daemon for nothing but the two names and
the listing of the top directory.
"""

from __future__ import annotations

import errno
import os
import sys
import time

import fusebpf
from fusebpf import (
    CONTINUE,
    USER,
    USER_POSTFILTER,
    AccessIn,
    Attr,
    AttrOut,
    Context,
    Dirent,
    Dirents,
    EntryOut,
    FilterSet,
    GetattrIn,
    Name,
    OpenIn,
    OpenOut,
    ReadIn,
    ReadOut,
    Verdict,
)
from fusebpf.daemon import Call, Daemon, Device, serve

filters = FilterSet("generated")


@filters.lookup.pre
def leave_names(ctx: Context, name: Name) -> Verdict:
    if ctx.nodeid == 1 and name in {"now", "reads"}:
        return USER
    return CONTINUE


@filters.readdir.pre
def leave_room(ctx: Context, req: ReadIn) -> Verdict:
    if ctx.nodeid == 1 and req.offset == 0:
        req.size = 3072  # of 4096 bytes: the rest is for our entries
        return USER_POSTFILTER
    return CONTINUE


NODES = {b"now": 2, b"reads": 3}
DIRECT_IO = 1  # FOPEN_DIRECT_IO: no size is known before the content is


class Generated(Daemon):
    """Serves the two files."""

    def __init__(self) -> None:
        self._reads = 0

    def lookup(self, _call: Call, name: Name) -> EntryOut:
        return EntryOut(nodeid=NODES[name.raw], attr=Attr(mode=0o100444, nlink=1))

    def getattr(self, _call: Call, _req: GetattrIn) -> AttrOut:
        return AttrOut(attr=Attr(mode=0o100444, nlink=1))

    def access(self, _call: Call, req: AccessIn) -> int | None:
        return -errno.EACCES if req.mask & os.W_OK else None

    def open(self, _call: Call, _req: OpenIn) -> OpenOut:
        return OpenOut(open_flags=DIRECT_IO)

    def release(self, _call: Call, _req: object) -> None:
        pass

    def read_iter(self, call: Call, req: ReadIn) -> bytes:
        if req.offset:
            return b""
        if call.nodeid == NODES[b"now"]:
            return f"{time.ctime()}\n".encode()
        self._reads += 1
        return f"{self._reads}\n".encode()

    def readdir_post(self, _call: Call, _req: ReadIn, _out: ReadOut, listing: Dirents) -> None:
        listing.entries[:0] = [Dirent(name, node, 8) for name, node in NODES.items()]


def main() -> None:
    lower, mountpoint = sys.argv[1:]
    with Device() as device, fusebpf.attach(filters, lower, mountpoint, daemon_fd=device.fd):
        print("serving; Ctrl-C ends it", flush=True)
        serve(Generated(), device)


if __name__ == "__main__":
    main()
