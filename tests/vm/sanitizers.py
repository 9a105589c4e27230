# SPDX-License-Identifier: MIT
"""What a debug kernel tells only when asked: leaked memory, and whether it still checks locks.

Documentation/dev-tools/kmemleak.rst; /proc/lockdep_stats is made by kernel/locking/lockdep_proc.c.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

KMEMLEAK = Path("/sys/kernel/debug/kmemleak")
CMDLINE = Path("/proc/cmdline")
LOCKDEP_STATS = Path("/proc/lockdep_stats")

_MIN_AGE_SECONDS = 5
"""kmemleak reports nothing younger (MSECS_MIN_AGE in mm/kmemleak.c)."""
_LINES = 200


def _looks_for_leaks() -> bool:
    """Not on kernels without kmemleak, nor where who boots one wants it off (docs/testing.md)."""
    return KMEMLEAK.exists() and "kmemleak=off" not in CMDLINE.read_text().split()


def forget_leaks() -> None:
    """Take what is leaked now for granted: it was leaked by the boot."""
    if _looks_for_leaks():
        KMEMLEAK.write_text("scan")
        KMEMLEAK.write_text("clear")


def leaks() -> list[str]:
    """Return kmemleak's report of memory that nothing points to."""
    if not _looks_for_leaks():
        return []
    time.sleep(_MIN_AGE_SECONDS)
    # What a first scan suspects, a second one may find a pointer to.
    for _ in range(2):
        KMEMLEAK.write_text("scan")
    return KMEMLEAK.read_text(errors="replace").splitlines()[:_LINES]


def lock_checks_off() -> bool:
    """Return whether the kernel gave up checking locks, as it does at its first finding."""
    if not LOCKDEP_STATS.exists():
        return False
    found = re.search(r"^\s*debug_locks:\s*(\d)", LOCKDEP_STATS.read_text(), re.MULTILINE)
    return found is not None and found[1] == "0"


def problems() -> list[str]:
    """Return what was found, for the reader of a test report."""
    found = leaks()
    if found:
        found.insert(0, "kmemleak reports:")
    if lock_checks_off():
        found.append("lockdep is off: an earlier finding or a full table ended the lock checks")
    return found
