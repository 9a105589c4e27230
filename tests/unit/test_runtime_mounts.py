# SPDX-License-Identifier: MIT
"""What is said when the kernel answers no question about the filters of a mount."""

from __future__ import annotations

import errno
import os

import pytest

from fusebpf.errors import FusebpfError, PrivilegeError
from fusebpf.runtime import features, mountinfo, mounts, sysbpf


@pytest.fixture(autouse=True)
def _mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = mountinfo.parse(b"40 27 0:50 / /mnt rw - fuse_bpf /srv rw,root_bpf=f0,link_id=1")
    kernel = features.FuseBpf("fuse_bpf", {"name": 0}, 0, 16)
    monkeypatch.setattr(mounts, "filtered", lambda *_: (entry, 1))
    monkeypatch.setattr(features, "require", lambda: kernel)


ANSWERS = [
    (errno.EPERM, PrivilegeError, "does not let this process use BPF"),
    (errno.ENOENT, FusebpfError, "the filters of /mnt are gone"),
    (errno.EMFILE, FusebpfError, "cannot read the filters of /mnt: .*Too many open files"),
]


@pytest.mark.parametrize(("code", "kind", "said"), ANSWERS)
def test_why_filters_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, code: int, kind: type[FusebpfError], said: str
) -> None:
    """Root in a user namespace may not ask, and a process may have too many files open."""

    def fd_by_id(_command: int, _id: int) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(sysbpf, "fd_by_id", fd_by_id)
    for ask in (mounts.open, mounts.ops_map_id):
        with pytest.raises(FusebpfError, match=said) as caught:
            ask("/mnt")
        assert type(caught.value) is kind
