# SPDX-License-Identifier: MIT
"""Fresh pairs of two directories to compare, on one lower file system, with one kind of mount.

The first is the bare directory, and a plain FUSE mount where a daemon does the work: what FUSE
itself changes is alike on both then.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from fusebpf import USER, USER_POSTFILTER
from fusebpf.abi import OPS
from fusebpf.abi.protocol import REQUESTS
from tests.differential import daemon
from tests.differential.lowers import lower as lower_file_system
from tests.differential.observe import RULES
from tests.differential.runner import Difference, compare
from tests.differential.script import Script
from tests.vm import daemonkit
from tests.vm import kernelkit as kit

# No mount at all: a second bare directory. What differs then comes from the file system alone.
TWIN = "twin"
UNFILTERED = "unfiltered"
# Every hook attached: prefilters that say CONTINUE, and such that ask for the postfilter
CONTINUE = "continue"
POSTFILTER = "postfilter"
# LOOKUP asks a daemon afterwards, who gives ids of its own; all else is left to it
DAEMON = "daemon"
# What a daemon made is an inode of its own until its name is looked up, and the file below it then
# another one (docs/kernel.md): through the one, locks, execve and what asks the page cache for the
# size know nothing of what is done through the other
OF_ONE_INODE = frozenset(
    (
        *("execute", "sendfile", "splice", "set_lease", "get_lease"),
        *("flock", "ofd_lock", "ofd_test", "posix_lock", "posix_test"),
    )
)
TMPFILE = next(opcode for opcode, request in REQUESTS.items() if request.name == "tmpfile")
MOUNTS = (UNFILTERED, CONTINUE, POSTFILTER, DAEMON, TWIN)


class Twins:
    """A file system on which pairs are made."""

    def __init__(self, lower: str, mount: str, place: Path, link: int | None) -> None:
        self.lower, self.mount = lower, mount
        self._place, self._link = place, link

    def fitting(self, script: Script) -> Script:
        """A script without what cannot be alike on this kind of mount."""
        left_out = OF_ONE_INODE if self.mount == DAEMON else ()
        return [step for step in script if step.kind not in left_out]

    def attempt(self, script: Script) -> Difference | None:
        """Run a script on a fresh pair; the first difference, None if there is none."""
        # Each in a directory of its own, so that ".." of the roots are alike too
        places = [self._place / name / "root" for name in ("bare", "plain", "lower", "mount")]
        bare, _, lower, _ = places
        try:
            for directory in places:
                directory.mkdir(parents=True)
            with self._mounted(*places) as (one, two):
                return compare((one, bare), (two, lower), script, RULES[self.lower])
        finally:
            # Immutable files and directories could not be removed
            parents = [directory.parent for directory in places]
            subprocess.run(
                ["chattr", "-R", "-f", "-i", "-a", *parents], check=False, stderr=subprocess.DEVNULL
            )
            for parent in parents:
                shutil.rmtree(parent)

    @contextmanager
    def _mounted(
        self, bare: Path, plain: Path, lower: Path, mount: Path
    ) -> Iterator[tuple[Path, Path]]:
        """The two directories to compare."""
        if self.mount == TWIN:
            yield bare, lower
        elif self.mount == DAEMON:
            with (
                daemon.served(bare, plain, lower=None, link=None),
                daemon.served(lower, mount, lower=lower, link=self._link),
            ):
                yield plain, mount
        else:
            filters = {} if self._link is None else {"root_bpf_link": self._link}
            with kit.mounted(lower, mount, **filters) as seen:
                yield bare, seen


@contextmanager
def twins(lower: str, mount: str = UNFILTERED) -> Iterator[Twins]:
    """A file system of the kind `lower`; its pairs have mounts of the kind `mount`."""
    with ExitStack() as stack:
        link = None
        if mount in (CONTINUE, POSTFILTER):
            attached = stack.enter_context(kit.filters())
            attached.reset()
            if mount == POSTFILTER:
                hooks = [name for name in kit.CONFIG if name.endswith("_PRE")]
                attached.set(**{name.removeprefix("SLOT_"): kit.POSTFILTER for name in hooks})
            link = attached.link.fd
        if mount == DAEMON:
            verdicts = stack.enter_context(closing(daemonkit.Verdicts()))
            verdicts.reset()
            for op in OPS:
                verdicts.set(op, USER_POSTFILTER.value if op == "lookup" else USER.value)
            # A CREATE without a name
            verdicts.put(TMPFILE, USER.value)
            link = verdicts.link.fd
        yield Twins(lower, mount, stack.enter_context(lower_file_system(lower)), link)
