# SPDX-License-Identifier: MIT
"""How often the filters of a mount run, and for how long: the kernel's own statistics of BPF.

They are off by default, as reading the clock twice for each run costs more than a small filter
does; they are on while a `Meter` is.
"""

from __future__ import annotations

import errno
import os
from functools import partial

from fusebpf.errors import FusebpfError, PrivilegeError
from fusebpf.frozen import dataclass
from fusebpf.runtime import state, sysbpf
from fusebpf.runtime.features import FuseBpf


@dataclass(frozen=True)
class HookStats:
    """Runs of one filter, by the name of its function, within an interval."""

    hook: str
    filter: str
    calls: int
    nanoseconds: int

    @property
    def per_call(self) -> int:
        """Nanoseconds of one run, on average."""
        return self.nanoseconds // self.calls if self.calls else 0


class Meter:
    """Counts runs between two calls of `read`, for as many mounts as it is asked for."""

    def __init__(self, kernel: FuseBpf) -> None:
        """Switch the kernel's statistics on. Raises PrivilegeError, FusebpfError."""
        self._kernel = kernel
        self._last: dict[int, dict[int, tuple[int, int]]] = {}  # by link and program
        try:
            self._fd = sysbpf.enable_stats()
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise PrivilegeError(
                    "the kernel does not let this process count the runs of programs",
                    "run it as root, with CAP_SYS_ADMIN",
                ) from None
            raise FusebpfError(f"cannot switch the statistics of BPF on: {error}") from None

    def read(self, link_id: int) -> list[HookStats]:
        """Runs of each filter behind a link since the last call, in the order of the hooks.

        The first call for a link gives 0. Filters that came by a replacement since the last call
        count from their load on. Raises OSError when the link is gone.
        """
        found: list[HookStats] = []
        last, now = self._last.get(link_id), {}
        for hook, program_id, info in state.settled(link_id, partial(self._programs, link_id)):
            now[program_id] = (info.calls, info.nanoseconds)
            calls, nanoseconds = now[program_id] if last is None else last.get(program_id, (0, 0))
            name = state.filter_name(info)
            found.append(HookStats(hook, name, info.calls - calls, info.nanoseconds - nanoseconds))
        self._last[link_id] = now
        return found

    def _programs(self, link_id: int) -> list[tuple[str, int, sysbpf.ProgInfo]]:
        programs = state.programs_of(link_id, self._kernel)
        return [(hook, number, state.program_info(number)) for hook, number in programs.items()]

    def close(self) -> None:
        """Switch the statistics off again, unless somebody else wants them."""
        os.close(self._fd)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
