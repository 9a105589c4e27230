# SPDX-License-Identifier: MIT
"""Fresh pairs of a bare directory and a mount, on one lower file system, with one kind of mount."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from tests.differential.lowers import lower as lower_file_system
from tests.differential.observe import RULES
from tests.differential.runner import Difference, compare
from tests.differential.script import Script
from tests.vm import kernelkit as kit

# No mount at all: a second bare directory. What differs then comes from the file system alone.
TWIN = "twin"
UNFILTERED = "unfiltered"
# Every hook attached: prefilters that say CONTINUE, and such that ask for the postfilter
CONTINUE = "continue"
POSTFILTER = "postfilter"
MOUNTS = (UNFILTERED, CONTINUE, POSTFILTER, TWIN)


class Twins:
    """A file system on which pairs are made."""

    def __init__(self, lower: str, mount: str, place: Path, link: int | None) -> None:
        self.lower, self.mount = lower, mount
        self._place, self._link = place, link

    def attempt(self, script: Script) -> Difference | None:
        """Run a script on a fresh pair; the first difference, None if there is none."""
        # Each in a directory of its own, so that ".." of the roots are alike too
        bare, lower, mount = (self._place / name / "root" for name in ("bare", "lower", "mount"))
        try:
            for directory in (bare, lower, mount):
                directory.mkdir(parents=True)
            with self._mounted(lower, mount) as seen:
                return compare(bare, lower, seen, script, RULES[self.lower])
        finally:
            # Immutable files and directories could not be removed
            parents = [directory.parent for directory in (bare, lower, mount)]
            subprocess.run(
                ["chattr", "-R", "-f", "-i", "-a", *parents], check=False, stderr=subprocess.DEVNULL
            )
            for parent in parents:
                shutil.rmtree(parent)

    def _mounted(self, lower: Path, mount: Path) -> AbstractContextManager[Path]:
        if self.mount == TWIN:
            return nullcontext(lower)
        if self._link is None:
            return kit.mounted(lower, mount)
        return kit.mounted(lower, mount, root_bpf_link=self._link)


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
        yield Twins(lower, mount, stack.enter_context(lower_file_system(lower)), link)
