# SPDX-License-Identifier: MIT
"""Reads the kernel's log from where the last reading ended, and picks out what must not be there.

A record of /dev/kmsg is "priority,sequence,microseconds,flags;text", see
Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

import errno
import os
import re

SUSPECT = re.compile(
    r"""
      \bWARNING:\s | \bBUG:\s | \bBUG\ \S+\ \( | \bOops\b | \bkernel\ BUG\ at\b | \bKernel\ panic\b
    | \bgeneral\ protection\b | \bpaging\ request\b | \bNULL\ pointer\ dereference\b
    | \bpossible\ (circular|recursive|irq\ lock)\b | \binconsistent\ lock\ state\b | \block\ held\b
    | \bsuspicious\ RCU\ usage\b | \brcu:\ INFO:\ | \bself-detected\ stall\b | \bsoft\ lockup\b
    | \bblocked\ for\ more\ than\b | \bscheduling\ while\ atomic\b | \bsleeping\ function\ called\b
    | \brefcount_t:\ | \blist_(add|del)\ corruption\b | \b(objects?|Objects?)\ remaining\b
    | \bkmem_cache_destroy\b | \bBusy\ inodes\ after\ unmount\b | \bstill\ in\ use\b
    | \bsysfs:\ cannot\ create\ duplicate\b | \bKASAN\b | \bKCSAN\b | \bUBSAN\b
    | \bkmemleak:\ (?!Kernel\ memory\ leak\ detector) | \bDEBUG_LOCKS_WARN_ON\b
    | \btrying\ to\ register\ non-static\ key\b | \bMAX_(LOCK|STACK)\w+\ too\ low\b
    | \binvalid\ wait\ context\b | \bbad\ unlock\ balance\b | \bholding\ the\ lock\b
    | \bCall\ Trace:
    """,
    re.VERBOSE,
)
"""What a sound kernel does not print: splats, lock reports, stalls, leaks, sanitizer findings."""

_CONTEXT = 30


class KernelLog:
    """A place in the kernel's log. Raises OSError when /dev/kmsg cannot be read."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        """Let the log go."""
        os.close(self._fd)

    def new_lines(self) -> list[str]:
        """Return the texts logged since the last call (at the first call: since boot)."""
        lines: list[str] = []
        while True:
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                return lines
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                lines.append("WARNING: the kernel's log ran over, lines are lost")
                continue
            if not record:
                return lines
            lines.append(text_of(record.decode(errors="replace")))


def last_lines() -> list[str]:
    """Return the end of the log; what is read elsewhere is not taken from it."""
    log = KernelLog()
    try:
        return log.new_lines()[-_CONTEXT:]
    finally:
        log.close()


def text_of(record: str) -> str:
    """Return the message of a record, without its header and its dictionary lines."""
    return record.partition(";")[2].split("\n", 1)[0]


def findings(lines: list[str]) -> list[str]:
    """Return the suspect lines and what follows each, so that a trace stays readable."""
    for number, line in enumerate(lines):
        if SUSPECT.search(line):
            return lines[number : number + _CONTEXT]
    return []
