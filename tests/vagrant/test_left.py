# SPDX-License-Identifier: MIT
"""What looks for things that a machine left would see them."""

from __future__ import annotations

import subprocess

from tests.vagrant import conftest

LINK = "fusebpf-left"


def test_a_link_that_stayed_is_seen() -> None:
    before = conftest.links()
    subprocess.run(["ip", "link", "add", LINK, "type", "bridge"], check=True)
    try:
        assert conftest.links() == sorted([*before, LINK])
    finally:
        subprocess.run(["ip", "link", "delete", LINK], check=True)
    assert conftest.links() == before
