# SPDX-License-Identifier: MIT
"""What a set shares with user space: its maps and its events, from descriptors and metadata."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from fusebpf.build.metadata import DROPS, EVENTS, MapMeta
from fusebpf.runtime.events import EventStream, EventStreams
from fusebpf.runtime.maps import Maps, MapView


def open_tables(
    declared: Sequence[MapMeta], descriptor: Callable[[str], int | None]
) -> tuple[Maps, EventStreams]:
    """Maps and events of a set. `descriptor` gives a new descriptor of a map, or None without it.

    When it raises, nothing stays open.
    """
    with ExitStack() as undo:
        views: dict[str, MapView] = {}
        for meta in declared:
            if meta.kind == EVENTS or (fd := descriptor(meta.name)) is None:
                continue
            with _closed_on_error(fd):
                views[meta.name] = view = MapView(fd, meta)
            undo.callback(view.close)
        dropped = views.pop(DROPS, None)
        streams: dict[str, EventStream] = {}
        kinds = [meta for meta in declared if meta.kind == EVENTS]
        for index, meta in enumerate(kinds):
            if (fd := descriptor(meta.name)) is not None:
                with _closed_on_error(fd):
                    streams[meta.name] = stream = EventStream(fd, meta, dropped, index)
                undo.callback(stream.close)
        undo.pop_all()
        return Maps(views), EventStreams(streams, dropped)


@contextmanager
def _closed_on_error(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(fd)
        raise
