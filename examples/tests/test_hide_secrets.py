# SPDX-License-Identifier: MIT
"""Tests of hide_secrets.py: `fusebpf test examples/hide_secrets.py`."""

from __future__ import annotations

from fusebpf import CONTINUE
from fusebpf.constants import ENOENT
from fusebpf.testing import FilterRun


def test_secrets_are_not_found_and_not_listed(filters: FilterRun) -> None:
    secrets = (".env", "id_rsa", "server.pem")
    for name in secrets:
        assert filters.call("lookup.pre", name=name).verdict == -ENOENT
    assert filters.call("lookup.pre", name="README").verdict == CONTINUE
    assert filters.call("readdir.post", entries=[*secrets, "README"]).names == (b"README",)


def test_no_secret_is_made_or_removed(filters: FilterRun) -> None:
    for op in ("create", "mknod", "mkdir", "symlink", "link", "unlink", "rmdir"):
        assert filters.call(f"{op}.pre", name=".netrc").verdict == -ENOENT
