# SPDX-License-Identifier: MIT
"""Tests of hide_everywhere.py: `fusebpf test examples/hide_everywhere.py`."""

from __future__ import annotations

from fusebpf import CONTINUE
from fusebpf.constants import ENOENT
from fusebpf.testing import FilterRun

HIDDEN = ("a.pem", "id_ed25519", "id_rsa", ".env.local")
SHOWN = ("id_ed25519.pub", "id_")


def test_key_material_is_not_found(filters: FilterRun) -> None:
    for name in HIDDEN:
        assert filters.call("lookup.pre", name=name).verdict == -ENOENT
    for name in SHOWN:
        assert filters.call("lookup.pre", name=name).verdict == CONTINUE


def test_key_material_is_not_listed(filters: FilterRun) -> None:
    listed = filters.call("readdir.post", entries=[*HIDDEN, *SHOWN])
    assert listed.names == (b"id_ed25519.pub", b"id_")


def test_nothing_is_renamed_to_it(filters: FilterRun) -> None:
    assert filters.call("rename.pre", old="a", new="a.key").verdict == -ENOENT
    assert filters.call("rename.pre", old="a.key", new="a").verdict == -ENOENT
