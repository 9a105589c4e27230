# SPDX-License-Identifier: MIT
"""Events of a mount for as long as it is there, over replacements of its filters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fusebpf.errors import FusebpfError, UsageError
from fusebpf.runtime import mountinfo, mounts, state
from fusebpf.runtime.events import EventStream, wait
from fusebpf.runtime.mounting import Mount

_LOOK_SECONDS = 1.0  # how often to look whether the mount is there and has the same filters

Batch = list[tuple[str, Any]]
"""Events with their kinds."""


class Follower:
    """The events of a mount.

    `dropped` has, by kind, how many were lost since its filters came, once this is closed; with
    those of filters that were replaced meanwhile.
    """

    def __init__(
        self,
        mountpoint: str | os.PathLike[str],
        kinds: Sequence[str] = (),
        wanted: Callable[[Any], bool] = lambda _event: True,
    ) -> None:
        """Begin; () takes every kind. Events that are not wanted are taken, but count for nothing.

        Raises UsageError for a kind that is not there.
        """
        self._mountpoint = Path(mountpoint)
        # Asked before the mount is opened: a replacement in between is seen at the first look.
        self._ops = mounts.ops_map_id(mountpoint)
        self._mount = mounts.open(mountpoint)
        self._fresh: Mount | None = None  # after a replacement, until what waits is read
        self.dropped: dict[str, int] = {}
        self._kinds = tuple(kinds)
        self._wanted = wanted
        try:
            self._check()
        except BaseException:
            self._mount.close()
            raise

    def _check(self) -> None:
        if not self._mount.events:
            raise UsageError(
                f"the filters of {self._mountpoint} send no events",
                "fusebpf show has their maps; docs/language.md says how a filter sends events",
            )
        for kind in self._kinds:
            if kind not in self._mount.events:
                raise UsageError(
                    f"the filters of {self._mountpoint} have no events {kind!r}",
                    f"their events: {', '.join(self._mount.events)}",
                )

    def _streams(self) -> dict[str, EventStream]:
        every = self._mount.events
        return {kind: every[kind] for kind in self._kinds or every if kind in every}

    def read(self, limit: int | None = None) -> Batch:
        """Events since the last call, at most `limit`; those of one kind oldest first."""
        found: Batch = []
        for kind, stream in self._streams().items():
            while taken := stream.read(limit=None if limit is None else limit - len(found)):
                found.extend((kind, event) for event in taken if self._wanted(event))
                if limit is None or found:
                    break  # what comes meanwhile is read by the next call
        return found

    def follow(
        self,
        seconds: float | None = None,
        limit: int | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Batch]:
        """Events as they come, until the mount is gone, `seconds` have passed, or `limit` is met.

        `stopped` is asked between two batches; what a batch has is no longer in the ring.
        """
        end = None if seconds is None else time.monotonic() + seconds
        look = time.monotonic() + _LOOK_SECONDS
        there = True
        while not stopped():
            if found := self.read(limit):
                yield found
            if limit is not None and (limit := limit - len(found)) == 0:
                return
            now = time.monotonic()
            if (end is not None and now >= end) or not (there or found):
                return
            if self._fresh is not None:
                self._turn(self._fresh)
            elif there and now >= look:
                look, there = now + _LOOK_SECONDS, self._look()
                if not there or self._fresh is not None:
                    continue  # what came before the end, or the replacement, is read, too
            if not found:
                wait(self._streams().values(), max(0.0, min(look, end or look) - now))

    def _look(self) -> bool:
        """Whether the mount is there; its events are opened anew when its filters are others."""
        try:
            ops = state.ops_map_id(self._mount.link_id)
            if ops != self._ops:
                self._fresh, self._ops = mounts.open(self._mountpoint), ops
                return True
        except FileNotFoundError:
            return False  # the link is gone, or was torn off
        except (OSError, FusebpfError):
            pass  # at the next look, if it is mounted then
        return self._mounted()

    def _mounted(self) -> bool:
        try:
            # Our descriptors of its maps do not hold the link, but another mount may.
            return any(entry.link_id == self._mount.link_id for entry in mountinfo.entries())
        except OSError:
            return True  # not known: this process has too many files open

    def _turn(self, fresh: Mount) -> None:
        """Go over to the filters that are in force now."""
        if fresh.events.counter_id != self._mount.events.counter_id:
            self._note()  # else the new filters count on
        self._mount.close()
        self._mount, self._fresh = fresh, None

    def _note(self) -> None:
        for kind, stream in self._streams().items():
            self.dropped[kind] = self.dropped.get(kind, 0) + stream.dropped

    def close(self) -> None:
        """Note what was dropped, and close."""
        self._note()
        self._mount.close()
        if self._fresh is not None:
            self._fresh.close()

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
