# SPDX-License-Identifier: MIT
"""Tests of quota.py: `fusebpf test examples/quota.py`."""

from __future__ import annotations

from fusebpf import POSTFILTER, Kstatfs, StatfsOut, WriteIn, WriteIterOut
from fusebpf.constants import EDQUOT, ENOSPC
from fusebpf.testing import FilterRun, LoadFilters


def test_writes_stop_at_the_limit(load_filters: LoadFilters) -> None:
    filters = load_filters("../quota.py", config={"limit": 10000})
    for before, verdict in ((0, POSTFILTER), (6000, POSTFILTER), (6001, -EDQUOT)):
        filters.maps["written"][5] = before
        assert filters.call("write_iter.pre", req=WriteIn(size=4000), uid=5).verdict == verdict


def test_who_cannot_be_counted_writes_nothing(filters: FilterRun) -> None:
    for uid in range(4096):
        filters.maps["written"][uid] = 0
    for uid, verdict in ((4095, POSTFILTER), (4096, -EDQUOT)):
        assert filters.call("write_iter.pre", req=WriteIn(size=1), uid=uid).verdict == verdict


def test_what_was_written_counts(filters: FilterRun) -> None:
    filters.call("write_iter.post", out=WriteIterOut(ret=7), uid=5)
    filters.call("write_iter.post", error_in=-ENOSPC, uid=5)
    filters.call("write_iter.post", out=WriteIterOut(ret=2), uid=6)
    assert dict(filters.maps["written"]) == {5: 7, 6: 2}


def test_rewriting_in_place_counts_too(load_filters: LoadFilters) -> None:
    filters = load_filters("../quota.py", config={"limit": 10000})
    again = WriteIn(offset=0, size=4000)
    for verdict in (POSTFILTER, POSTFILTER, -EDQUOT):
        assert filters.call("write_iter.pre", req=again, uid=5).verdict == verdict
        if verdict == POSTFILTER:
            filters.call("write_iter.post", req=again, out=WriteIterOut(ret=4000), uid=5)
    assert filters.maps["written"][5] == 8000


def test_df_shows_what_is_left(load_filters: LoadFilters) -> None:
    filters = load_filters("../quota.py", config={"limit": 10000})
    below = StatfsOut(st=Kstatfs(frsize=1024, blocks=10**6, bfree=10**6, bavail=10**6))
    for before, left in ((0, 9), (9500, 0), (20000, 0)):
        filters.maps["written"][5] = before
        st = filters.call("statfs.post", out=below, uid=5).arguments["out"].st
        assert (st.blocks, st.bfree, st.bavail) == (9, left, left)
