# SPDX-License-Identifier: MIT
"""apt with lists and archives of its own: looks at other suites without touching the machine's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from fusebpf.vm import mirror


class PrivateApt:
    """An apt for `suites`, kept in `directory`; `status` says what it takes for installed."""

    def __init__(
        self, directory: Path, suites: tuple[str, ...], status: Path | None = None
    ) -> None:
        self.archives = directory / "archives"
        for place in (directory / "lists/partial", self.archives / "partial"):
            place.mkdir(parents=True, exist_ok=True)
        if status is None:
            status = directory / "status"
            status.touch()
        lines = [line for suite in suites for line in mirror.sources(suite)]
        (directory / "sources.list").write_text("\n".join(dict.fromkeys(lines)) + "\n")
        settings = {
            "Dir::State::status": status,
            "Dir::State::lists": directory / "lists",
            "Dir::State::extended_states": directory / "extended_states",
            "Dir::Cache::archives": self.archives,
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Etc::sourcelist": directory / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        self._options = [f"-o{name}={value}" for name, value in settings.items()]
        self.run("apt-get", "--quiet=2", "update")

    def run(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run apt-get or apt-cache and return its output, which is in no language of the user's.

        Raises:
            subprocess.CalledProcessError: it failed, and has said why.
        """
        command = [program, *self._options, *arguments]
        env = {**os.environ, "LC_ALL": "C"}
        return subprocess.run(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
