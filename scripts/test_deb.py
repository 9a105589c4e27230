# SPDX-License-Identifier: MIT
"""`make test-deb`: install, boot with, upgrade and purge the Debian packages (minutes).

Their Debian 13 is the guest's root. Packages of an earlier version and these are installed into it
on this machine's processor, in a chroot, for an emulated one would be half an hour at the two
modules that DKMS builds. Guests then have that root. They have no network: apt of this machine
fetches what the packages depend on and the root lacks. All that is changed is gone afterwards.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from private_apt import PrivateApt

import fusebpf
from fusebpf.vm.cache import using
from fusebpf.vm.isolate import run_isolated
from fusebpf.vm.root import SUITE, prepare_state, root_path

TREE = Path(__file__).resolve().parent.parent
WORK = TREE / "build/test-deb"
NEWER = fusebpf.__version__
OLDER = f"{NEWER}~earlier"

CHROOT = """
set -e
mount -t overlay -o "lowerdir=$1,upperdir=$2/data,workdir=$2/work" overlay "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
mkdir -p "$2/root$3"
mount --bind "$3" "$2/root$3"
exec chroot "$2/root" sh -c 'cd "$0" && exec sh scripts/deb_guest.sh install "$@"' "$3" "$4" "$5"
"""
"""Root, what is changed in it, the tree, older and newer version."""


def fetch(packages: list[Path]) -> None:
    """Fetch what apt would install in the guest's root before the packages."""
    apt = PrivateApt(WORK / "needed", (SUITE,), root_path() / "var/lib/dpkg/status")
    apt.run(
        "apt-get",
        *("--quiet=2", "install", "--yes", "--download-only", "--no-install-recommends"),
        *packages,
    )


def install() -> Path:
    """Install into the root; the disk with all that this changed."""
    changed = WORK / "changed"
    for name in ("data", "work", "root"):
        (changed / name).mkdir(parents=True)
    root = root_path()
    with using(root):
        status = run_isolated(
            ["sh", "-c", CHROOT, "sh", str(root), str(changed), str(TREE), OLDER, NEWER],
            dict(os.environ),
            lambda line: print(line, end="", flush=True),
            network=False,
        )
    if status:
        sys.exit(f"test-deb: the installation failed ({status})")
    state = WORK / "state.img"
    prepare_state(state, changed)
    return state


def guest(state: Path, part: str, *options: str) -> None:
    """Go through a part of deb_guest.sh in a guest that has what was installed."""
    command = [sys.executable, "-m", "fusebpf.vm", "run", "--timeout", "1800", "--no-module"]
    command += [*options, "--state", str(state), "--"]
    # The guest's own environment has its Python write bytecode elsewhere
    command += ["env", "-i", "/bin/sh", "scripts/deb_guest.sh", part, OLDER, NEWER]
    status = subprocess.run(command, cwd=TREE, check=False).returncode
    if status:
        sys.exit(f"test-deb: FAILED ({status})")


def main() -> None:
    """Build the earlier version, too; then each step, to the first that fails."""
    if os.geteuid() != 0:
        sys.exit("test-deb: installing into the guest's root needs root: sudo make test-deb")
    with WORK.with_name(f"{WORK.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(WORK, ignore_errors=True)
        # `make deb` may be asked for again meanwhile, and holds this lock then.
        with Path(f"{TREE}/build/deb.lock").open("w") as made:
            fcntl.flock(made, fcntl.LOCK_SH)
            shutil.copytree(TREE / "build/deb", WORK / "newer")
        try:
            subprocess.run(["scripts/deb.sh", OLDER, WORK / "older"], cwd=TREE, check=True)
            fetch(sorted((WORK / "newer").glob("fusebpf*.deb")))
            state = install()
            guest(state, "set-up")
            guest(state, "use", "--systemd")
        finally:
            shutil.rmtree(WORK)
    print("test-deb: ok")


if __name__ == "__main__":
    main()
