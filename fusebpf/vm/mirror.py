# SPDX-License-Identifier: MIT
"""The Debian mirrors this machine uses, taken from apt at run time and written down nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from fusebpf.vm.errors import PrepareError

_APT_HELPER = "/usr/lib/apt/apt-helper"


def sources(suite: str, arch: str = "amd64") -> list[str]:
    """Return sources.list lines for ``suite``, its updates and its security suite.

    The mirrors are those of this machine's apt, or ``$FUSEBPF_MIRROR`` if set. Updates and security
    are left out when no mirror carries them; security is looked for beside Debian itself, too.

    Raises:
        PrepareError: no mirror is known, or none carries the suite.
    """
    main, security = _mirrors()
    wanted = [(main, suite), (main, f"{suite}-updates")]
    found = [(url, name) for url, name in wanted if _carries(url, name)]
    beside = security or f"{main.rstrip('/').removesuffix('/debian')}/debian-security"
    if _carries(beside, f"{suite}-security"):
        found.append((beside, f"{suite}-security"))
    if (main, suite) not in found:
        raise PrepareError(
            f"the Debian mirror of this machine does not answer for {suite}",
            "run `apt-get update`, or name another mirror in FUSEBPF_MIRROR",
        )
    return [f"deb [arch={arch}] {url} {name} main" for url, name in found]


def _mirrors() -> tuple[str, str | None]:
    named = os.environ.get("FUSEBPF_MIRROR")
    if named:
        return named, None
    if shutil.which("apt-get") is None:
        raise PrepareError(
            "this machine has no apt-get to learn a Debian mirror from",
            "name one in FUSEBPF_MIRROR (http://HOST/debian)",
        )
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    uris = [_followed(uri).rstrip("/") for uri in dict.fromkeys(listed.stdout.split())]
    debian = [uri for uri in uris if uri.endswith("/debian")]
    if not debian:
        raise PrepareError(
            "apt on this machine has no Debian mirror",
            "name one in FUSEBPF_MIRROR (http://HOST/debian)"
            if uris
            else "it has no package lists: run `apt-get update`",
        )
    return debian[0], next((uri for uri in uris if uri.endswith("-security")), None)


def _followed(uri: str) -> str:
    """The first mirror of a list in a file, if apt is given one (apt-transport-mirror(1)).

    Debian's cloud images have such lists.
    """
    path = uri.removeprefix("mirror+file:")
    if path == uri:
        return uri
    try:
        lines = Path("/" + path.strip("/")).read_text().splitlines()
    except OSError:
        return uri
    found = (line.split()[0] for line in lines if line.strip() and not line.startswith("#"))
    return next(found, uri)


def _carries(url: str, suite: str) -> bool:
    """Ask through apt's own downloader, so that its proxies and certificates count."""
    with tempfile.TemporaryDirectory() as scratch:
        answer = subprocess.run(
            [
                _APT_HELPER,
                "download-file",
                f"{url}/dists/{suite}/InRelease",
                f"{scratch}/InRelease",
            ],
            capture_output=True,
            check=False,
            cwd=scratch,
        )
        return answer.returncode == 0 and Path(scratch, "InRelease").exists()
