# SPDX-License-Identifier: MIT
"""`make test-deb`: install, use, upgrade and purge the Debian packages in a guest (minutes).

The guest has no network: apt of this machine fetches what the packages depend on and the guest's
Debian 13 lacks. All that the guest changes is gone with it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from private_apt import PrivateApt

from fusebpf.vm.root import SUITE, root_path

TREE = Path(__file__).resolve().parent.parent
BUILT = TREE / "build/deb"
NEEDED = BUILT / "needed"


def fetch(packages: list[Path]) -> None:
    """Fetch into NEEDED what apt would install in the guest's root before the packages."""
    apt = PrivateApt(NEEDED, (SUITE,), root_path() / "var/lib/dpkg/status")
    apt.run(
        "apt-get",
        *("--quiet=2", "install", "--yes", "--download-only", "--no-install-recommends"),
        *packages,
    )


def main() -> int:
    """Fetch, then run both parts, each in its guest; the status of the first that failed."""
    fetch(sorted(BUILT.glob("fusebpf*.deb")))
    for part in sys.argv[1:] or ("fusebpf", "fusebpf-dkms"):
        command = [sys.executable, "-m", "fusebpf.vm", "run", "--timeout", "3000", "--"]
        command += ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]
        command += ["LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        command += ["/bin/sh", "scripts/deb_guest.sh", part]
        status = subprocess.run(command, cwd=TREE, check=False).returncode
        print(f"test-deb: {part}: {f'FAILED ({status})' if status else 'ok'}", flush=True)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
