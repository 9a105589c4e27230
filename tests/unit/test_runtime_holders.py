# SPDX-License-Identifier: MIT
"""Who holds a filter set that no mount here has."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusebpf.cli.ls import _left
from fusebpf.runtime import holders
from fusebpf.runtime.holders import Holder, Leftover
from fusebpf.runtime.mountinfo import parse


def test_a_descriptor_that_is_closed_meanwhile_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "fdinfo").mkdir()
    for number in range(50):
        if number == 25:
            (tmp_path / "fdinfo/25").write_text("pos:\t0\nlink_id:\t7\n")
        else:
            (tmp_path / f"fdinfo/{number}").symlink_to("gone")
    assert holders._open_links(tmp_path) == {7}
    assert holders._open_links(tmp_path / "ended") == frozenset()


def test_only_a_pin_comes_with_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process may be about to mount the set, and a mount elsewhere may confine somebody."""
    (entry,) = parse(b"40 27 0:50 / /mnt rw - fuse_bpf /srv rw,root_bpf=f0,link_id=7")
    monkeypatch.setattr(holders, "_pins", lambda: [(7, Path("/sys/fs/bpf/a b"))])
    monkeypatch.setattr(holders, "_processes", lambda: [Path("/proc/12")])
    monkeypatch.setattr(holders, "_comm", lambda _process: "sh")
    monkeypatch.setattr(holders, "_namespace", str)
    monkeypatch.setattr(holders, "_open_links", lambda _process: frozenset({7}))
    monkeypatch.setattr(holders, "_mounts_of", lambda _process: [entry])
    assert [(held.kind, held.mend) for _link, held in holders._holders(frozenset({7}))] == [
        ("pin", "rm '/sys/fs/bpf/a b'"),
        ("process", ""),
        ("namespace", ""),
    ]


PIN = Holder("pin", "/sys/fs/bpf/a", "rm /sys/fs/bpf/a")
PROCESS, NAMESPACE = Holder("process", "12 (sh)", ""), Holder("namespace", "13 (sh)", "")


@pytest.mark.parametrize(
    ("held", "mend", "said"),
    [
        ((PIN,), PIN.mend, "has no mount here, held by pin /sys/fs/bpf/a: rm /sys/fs/bpf/a"),
        ((PROCESS,), "", "has no mount here, held by process 12 (sh)"),
        ((NAMESPACE,), "", "is mounted in the namespace of 13 (sh)"),
        (
            (PROCESS, NAMESPACE),
            "",
            "is mounted in the namespace of 13 (sh), held by process 12 (sh)",
        ),
    ],
)
def test_how_it_is_said(held: tuple[Holder, ...], mend: str, said: str) -> None:
    assert _left(Leftover(7, "f0", "guard", (), held, mend)) == (
        f"filter set guard (link 7) {said}"
    )
