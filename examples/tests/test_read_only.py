# SPDX-License-Identifier: MIT
"""Tests of read_only.py: `fusebpf test examples/read_only.py`."""

from __future__ import annotations

import os

import pytest

from fusebpf import CONTINUE, OpenIn
from fusebpf.constants import EROFS
from fusebpf.testing import FilterRun

CHANGES: tuple[str, ...] = (
    "create",
    "mknod",
    "mkdir",
    "symlink",
    "link",
    "unlink",
    "rmdir",
    "rename",
    "setattr",
)
CHANGES += ("setxattr", "removexattr", "file_fallocate")


@pytest.mark.parametrize("op", CHANGES)
def test_nothing_is_changed(filters: FilterRun, op: str) -> None:
    assert filters.call(f"{op}.pre").verdict == -EROFS


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_TRUNC])
def test_nothing_is_opened_for_writing(filters: FilterRun, flags: int) -> None:
    assert filters.call("open.pre", req=OpenIn(flags=flags)).verdict == -EROFS


def test_files_are_read(filters: FilterRun) -> None:
    assert filters.call("open.pre").verdict == CONTINUE
    assert filters.call("copy_file_range.pre").verdict == CONTINUE
