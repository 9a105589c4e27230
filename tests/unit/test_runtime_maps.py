# SPDX-License-Identifier: MIT
"""Map views, on maps of the running kernel."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator

import pytest

from fusebpf.build.metadata import MapMeta
from fusebpf.errors import FusebpfError
from fusebpf.runtime import sysbpf
from fusebpf.runtime.libbpf import Object
from fusebpf.runtime.maps import MapFullError, Maps, MapView
from tests.unit.runtime_objects import compiled, needs_root

BODY = """
struct { __uint(type, 1); __uint(max_entries, 3); __type(key, __u32); __type(value, __s64); }
        table SEC(".maps");
struct { __uint(type, 2); __uint(max_entries, 3); __type(key, __u32); __type(value, __u32); }
        slots SEC(".maps");
struct { __uint(type, 6); __uint(max_entries, 2); __type(key, __u32); __type(value, __u64); }
        hits SEC(".maps");
struct { __uint(type, 5); __uint(max_entries, 2); __type(key, __u64); __type(value, __u32); }
        by_uid SEC(".maps");
struct pair { __u32 a; __u32 b; };
struct { __uint(type, 2); __uint(max_entries, 2); __type(key, __u32); __type(value, struct pair); }
        pairs SEC(".maps");
struct net { __u32 bits; __u32 address; };
struct { __uint(type, 11); __uint(max_entries, 1); __uint(map_flags, 1);
         __type(key, struct net); __type(value, __u32); } nets SEC(".maps");
"""
METAS = (
    MapMeta("table", "hash", "u32", "s64", 3),
    MapMeta("slots", "array", "u32", "u32", 3),
    MapMeta("hits", "percpu_array", "u32", "u64", 2),
    MapMeta("by_uid", "percpu_hash", "u64", "u32", 2),
    MapMeta("pairs", "array", "u32", "Pair{a:u32,b:u32}", 2),
    MapMeta("nets", "lpm_trie", "Net{bits:u32,address:u32}", "u32", 1),
)

pytestmark = needs_root


@pytest.fixture
def maps() -> Iterator[Maps]:
    with Object(compiled(BODY), "maps") as opened:
        opened.load()
        views = Maps({m.name: MapView(os.dup(opened.maps[m.name].fd), m) for m in METAS})
    yield views
    views.close()


def test_hash_is_a_mapping(maps: Maps) -> None:
    table = maps["table"]
    assert dict(table) == {}
    table[5] = -7
    table.update({6: 1 << 62})
    assert (table[5], table.get(9), 5 in table, 9 in table, len(table)) == (
        -7,
        None,
        True,
        False,
        2,
    )
    assert dict(table.items()) == {5: -7, 6: 1 << 62}
    del table[5]
    with pytest.raises(KeyError):
        del table[5]
    with pytest.raises(KeyError):
        _ = table[5]


def test_entries_may_go_while_they_are_looked_at(maps: Maps) -> None:
    """Each key comes once, and one that is gone by now not with a KeyError."""
    table = maps["table"]
    table.update({1: 10, 2: 20, 3: 30})
    seen = []
    for key in table:
        seen.append(key)
        if key != seen[0]:
            del table[key]
    assert sorted(seen) == [1, 2, 3]
    table.update({1: 10, 2: 20, 3: 30})
    order = list(table)
    items = iter(table.items())
    assert next(items)[0] == order[0]
    del table[order[1]]
    assert order[1] not in dict(items)
    assert sorted(table.values()) == sorted(10 * key for key in (order[0], order[2]))


def test_full_hash_says_so(maps: Maps) -> None:
    maps["table"].update({1: 1, 2: 2, 3: 3})
    with pytest.raises(MapFullError, match=r"map table is full \(3 entries\)"):
        maps["table"][4] = 4
    maps["table"][3] = 30
    maps["nets"][8, 10] = 1
    with pytest.raises(MapFullError, match=r"map nets is full \(1 entries\)"):
        maps["nets"][16, 10] = 1


@pytest.mark.parametrize(("key", "value"), [(-1, 0), (1 << 32, 0), (1, 1 << 63), ("x", 1)])
def test_numbers_that_do_not_fit_are_refused(maps: Maps, key: int, value: int) -> None:
    with pytest.raises(OverflowError, match="of map table"):
        maps["table"][key] = value
    assert len(maps["table"]) == 0


def test_array_has_all_its_indices(maps: Maps) -> None:
    slots = maps["slots"]
    slots[2] = 0xFFFFFFFF
    assert dict(slots) == {0: 0, 1: 0, 2: 0xFFFFFFFF}
    for outside in (3, -1, 1 << 40):
        assert outside not in slots
        with pytest.raises(KeyError):
            _ = slots[outside]
        with pytest.raises(KeyError):
            slots[outside] = 1
    with pytest.raises(TypeError, match="array"):
        del slots[0]


def test_a_record_is_stored_as_tuple_or_bytes(maps: Maps) -> None:
    pairs = maps["pairs"]
    pairs[0] = (1, 2)
    pairs[1] = array("I", [3, 4]).tobytes()
    assert [(pair.a, pair.b) for pair in pairs.values()] == [(1, 2), (3, 4)]
    with pytest.raises(OverflowError, match="value of map pairs has 3 bytes, not 8"):
        pairs[0] = b"123"


@pytest.mark.parametrize("name", ["hits", "by_uid"])
def test_per_cpu_map_reads_as_its_sum(maps: Maps, name: str) -> None:
    view = maps[name]
    view[1] = 5
    assert view[1] == 5
    values = view.per_cpu[1]
    assert len(values) == sysbpf.possible_cpus()
    assert values[0] == 5


def test_per_cpu_values_of_several_cpus_are_added(maps: Maps) -> None:
    cpus = sysbpf.possible_cpus()
    raw = b"".join((cpu + 1).to_bytes(8, "little") for cpu in range(cpus))
    sysbpf.map_update(maps["hits"]._descriptor(), bytes(4), raw)
    assert maps["hits"][0] == cpus * (cpus + 1) // 2
    assert maps["hits"].per_cpu[0] == list(range(1, cpus + 1))


def test_unknown_map_names_those_there_are(maps: Maps) -> None:
    with pytest.raises(KeyError, match="maps of this set: table, slots, hits, by_uid"):
        _ = maps["hit"]


def test_closed_maps_say_so(maps: Maps) -> None:
    maps.close()
    with pytest.raises(FusebpfError, match="map table is closed"):
        _ = maps["table"][1]
    maps.close()
