# SPDX-License-Identifier: MIT
"""Who holds a filter set that no mount here has."""

from __future__ import annotations

from pathlib import Path

from fusebpf.runtime import holders


def test_a_descriptor_that_is_closed_meanwhile_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "fdinfo").mkdir()
    for number in range(50):
        if number == 25:
            (tmp_path / "fdinfo/25").write_text("pos:\t0\nlink_id:\t7\n")
        else:
            (tmp_path / f"fdinfo/{number}").symlink_to("gone")
    assert holders._open_links(tmp_path) == {7}
    assert holders._open_links(tmp_path / "ended") == frozenset()
