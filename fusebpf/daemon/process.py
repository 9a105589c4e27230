# SPDX-License-Identifier: MIT
"""A mount whose daemon runs in the background: `fusebpf attach --daemon`."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import fusebpf
from fusebpf.build.metadata import Metadata
from fusebpf.daemon import choosing
from fusebpf.daemon.choosing import Chosen
from fusebpf.daemon.device import Device
from fusebpf.daemon.errors import DaemonError
from fusebpf.errors import FusebpfError, PrivilegeError, UsageError
from fusebpf.runtime import attach, daemons, features, state

_LAST_LINES = 10


def attach_with_daemon(
    filters: Path,
    lower: Path,
    mountpoint: Path,
    chosen: Chosen,
    *,
    log: Path | None = None,
    set_name: str | None = None,
    settings: tuple[str, ...] = (),
    config: Mapping[str, int] | None = None,
) -> None:
    """Mount, and leave the daemon serving in a process of its own when this returns.

    It is mounted when the daemon serves, not before; after an error nothing is, and no process is
    left. `log` is the file that its output is appended to, by default one beside its record.

    Raises as `attach`; UsageError and DaemonError for what cannot be served.
    """
    features.require_root("attach")
    features.load()
    again = _command(filters, lower, mountpoint, chosen, log, set_name, settings)
    with ExitStack() as stack:
        output = stack.enter_context(_log_file(log))
        device = stack.enter_context(Device())
        process = stack.enter_context(_Process(chosen, device, output, log, again))
        attach(
            filters,
            lower,
            mountpoint,
            set_name=set_name,
            config=config,
            daemon_fd=device.fd,
            placing=process.serve,
        ).close()


def _command(
    filters: Path,
    lower: Path,
    mountpoint: Path,
    chosen: Chosen,
    log: Path | None,
    set_name: str | None,
    settings: tuple[str, ...],
) -> str:
    """The command line that mounts the same again, from any directory."""
    places = [str(path.absolute()) for path in (filters, lower, mountpoint)]
    words = ["fusebpf", "attach", *places, "--daemon", str(chosen)]
    words += [] if log is None else ["--daemon-log", str(log.absolute())]
    words += [] if set_name is None else ["--name", set_name]
    for setting in settings:
        words += ["--set", setting]
    return shlex.join(words)


def _log_file(log: Path | None) -> IO[bytes]:
    """Where the daemon's output goes. Without a path it gets its name when the daemon serves."""
    try:
        directory = daemons.directory()
        daemons.prune()
        flags, path = (os.O_TMPFILE, directory) if log is None else (os.O_CREAT, log)
        fd = os.open(path, flags | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise PrivilegeError(f"may not write {error.filename}", "run as root") from None
    except OSError as error:
        raise FusebpfError(
            f"cannot write the daemon's log {log or daemons.DIRECTORY}: {error.strerror}",
            "name another file: --daemon-log FILE",
        ) from None
    return os.fdopen(fd, "r+b", buffering=0)


class _Process:
    """The daemon's process as its starter sees it; in a `with`, whose error ends it."""

    def __init__(
        self, chosen: Chosen, device: Device, output: IO[bytes], log: Path | None, again: str
    ) -> None:
        self._chosen = chosen
        self._output = output
        self._log = None if log is None else str(log.absolute())
        self._log_start = os.fstat(output.fileno()).st_size
        self._again = again
        self._link_id: int | None = None
        self._talk, theirs = socket.socketpair()
        # The package must be found from where it is now. The working directory is not put before
        # the library (-P): root may stand in a directory that others write to.
        package = str(Path(fusebpf.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), package)))
        words = [str(chosen), str(device.fd), str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "fusebpf.daemon", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(device.fd, theirs.fileno()),
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._lines = self._talk.makefile("r", encoding="utf-8")

    def serve(self, metadata: Metadata, link_id: int) -> None:
        """Have it serve a mount that was made but is at no path yet. Raises as the above."""
        methods = self._heard()["methods"]
        choosing.check_use(str(self._chosen), methods, (entry.hook for entry in metadata.hooks))
        self._link_id = link_id
        told = {
            "link_id": link_id,
            "served": str(self._chosen),
            "log": self._log,
            "attach": self._again,
            "ops": state.ops_map_id(link_id),
        }
        self._talk.sendall(json.dumps(told).encode() + b"\n")
        self._heard()

    def _heard(self) -> dict[str, Any]:
        """The next it says. Raises the error that it tells, or for its end."""
        line = self._lines.readline()
        if not line:
            status = self._process.wait()
            raise DaemonError(f"the daemon ended with status {status}{self._last_words()}")
        heard: dict[str, Any] = json.loads(line)
        if "error" in heard:
            message, help = heard["error"]
            raise (UsageError if heard["usage"] else DaemonError)(message, help)
        return heard

    def _last_words(self) -> str:
        os.lseek(self._output.fileno(), self._log_start, os.SEEK_SET)
        text = self._output.read().decode("utf-8", "replace")
        lines = text.splitlines()[-_LAST_LINES:]
        return "\n  ".join((":", *lines)) if lines else ""

    def __enter__(self) -> _Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._talk.close()
        if kind is None:
            self._process.returncode = 0  # it runs on, which Popen must not complain of
            return
        self._process.kill()
        self._process.wait()
        if self._link_id is not None:
            daemons.forget(self._link_id)
