# SPDX-License-Identifier: MIT
"""The process of a daemon that `fusebpf attach --daemon` starts (fusebpf.daemon.process).

python -m fusebpf.daemon MODULE:CLASS DEVICE_FD TALK_FD

On TALK_FD it says in a line of JSON that the daemon is made, is told the mount's link, and says
that it serves; or, instead of either, what went wrong. stderr is the log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from fusebpf.daemon import choosing
from fusebpf.daemon.device import Device
from fusebpf.daemon.handlers import Daemon
from fusebpf.daemon.server import Server
from fusebpf.errors import FusebpfError, UsageError
from fusebpf.runtime import daemons

log = logging.getLogger("fusebpf.daemon")


def main(served: str, device_fd: int, talk_fd: int) -> int:
    """Exit status: 0 ended as told or with its mount, 1 failed."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    with socket.socket(fileno=talk_fd) as talk:
        talk.set_inheritable(False)
        os.set_inheritable(device_fd, False)
        try:
            cls = choosing.load(choosing.parse(served))
            daemon = choosing.make(cls)
            _say(talk, {"methods": sorted(choosing.handled(cls))})
            with talk.makefile("r", encoding="utf-8") as lines:
                text = lines.readline()
            if not text:
                return 1  # it could not be mounted, and our starter has said why
            return asyncio.run(_serve(daemon, device_fd, talk, json.loads(text)))
        except FusebpfError as error:
            if error.__cause__ is not None:
                traceback.print_exception(error.__cause__)
            _say(
                talk, {"usage": isinstance(error, UsageError), "error": [error.message, error.help]}
            )
            return 1


async def _serve(daemon: Daemon, device_fd: int, talk: socket.socket, told: dict[str, Any]) -> int:
    link_id: int = told["link_id"]
    path = told["log"]
    if path is None:
        path = daemons.own_log(link_id)
        daemons.name(sys.stderr.fileno(), path)
    record = daemons.Record(os.getpid(), told["served"], str(path), told["attach"], told["ops"])
    held = daemons.hold(link_id, record)
    os.chdir("/")  # keeps no file system from being unmounted
    server = Server(daemon, Device.adopt(device_fd, daemon.max_write))
    serving = asyncio.get_running_loop().create_task(server.serve())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    ready = asyncio.get_running_loop().create_task(server.ready.wait())
    await asyncio.wait((serving, ready), return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        _say(talk, {"serving": True})
    talk.close()
    ready.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        log.info("told to end; what needs this daemon gets ENOTCONN until it is attached again")
        return 0
    except Exception:
        log.exception("cannot serve any more")
        return 1
    daemons.forget(link_id)  # its mount is gone
    os.close(held)
    return 0


def _say(talk: socket.socket, message: dict[str, Any]) -> None:
    talk.sendall(json.dumps(message).encode() + b"\n")


def _run() -> NoReturn:
    served, device_fd, talk_fd = sys.argv[1:]
    sys.exit(main(served, int(device_fd), int(talk_fd)))


if __name__ == "__main__":
    _run()
