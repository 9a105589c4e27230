# SPDX-License-Identifier: MIT
"""The device that a FUSE mount talks to its daemon through."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
from types import TracebackType

from fusebpf.abi.protocol import bpf_response_ioctl
from fusebpf.daemon.errors import DaemonError
from fusebpf.errors import PrivilegeError, UnsupportedKernelError
from fusebpf.runtime import features

#: Room for a request: header and arguments beside the data of the largest write, in bytes.
_HEAD_BYTES = 4096
MAX_WRITE = 1 << 20
_MIN_READ_BYTES = 8192 + 65536


class Device:
    """An open device; a descriptor, to be given to the mount as ``fd``. Use it in a `with`."""

    #: Whether its mount has neither filters nor a lower directory; set by `mount`, and to be set
    #: by who mounts otherwise.
    alone = False

    def __init__(self, max_write: int = MAX_WRITE, path: str | None = None) -> None:
        """Open. ``max_write`` is the largest write that will be negotiated, in bytes.

        ``path`` is by default /dev/fusebpf of the module, or /dev/fuse where the kernel's own FUSE
        has fuse-bpf.

        Raises UnsupportedKernelError when the kernel has no such device, PrivilegeError.
        """
        path = path or features.device()
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise UnsupportedKernelError(
                f"there is no {path}", "load the module: modprobe fusebpf"
            ) from None
        except PermissionError:
            raise PrivilegeError(f"may not open {path}", "run as root") from None
        self.max_write = max_write

    @classmethod
    def adopt(cls, fd: int, max_write: int = MAX_WRITE, alone: bool = False) -> Device:
        """The device that another process opened, as its descriptor here.

        ``alone``: its mount has neither filters nor a lower directory.
        """
        device = cls.__new__(cls)
        device.fd, device.max_write, device.alone = fd, max_write, alone
        return device

    def fileno(self) -> int:
        return self.fd

    def read(self) -> bytes | None:
        """One request, or None when there is none now.

        Raises EOFError when the mount is gone or was aborted, DaemonError when there is none yet.
        """
        room = max(self.max_write + _HEAD_BYTES, _MIN_READ_BYTES)
        while True:
            try:
                return os.read(self.fd, room)
            except BlockingIOError:
                return None
            except OSError as error:
                # ENOENT: its caller gave the request up before it could be read
                if error.errno in (errno.ENOENT, errno.EINTR):
                    continue
                if error.errno in (errno.ENODEV, errno.ECONNABORTED):
                    raise EOFError("the mount is gone") from None
                if error.errno == errno.EPERM:
                    raise DaemonError("nothing is mounted on the device", "mount first") from None
                raise

    def write(self, message: bytes) -> None:
        """Send a reply or a notification.

        Raises OSError: ENOENT when nobody waits for it (any more), EINVAL when it is malformed.
        """
        os.write(self.fd, message)

    def respond(self, message: bytes) -> None:
        """Send a reply that may hold lookup entries, by FUSE_DEV_IOC_BPF_RESPONSE.

        Raises OSError as `write` does, and EBADF for a backing descriptor that is not open.
        """
        fcntl.ioctl(self.fd, bpf_response_ioctl(len(message)), array.array("B", message))

    def close(self) -> None:
        """Close; what waits for an answer ends with an error when this was the last descriptor."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
