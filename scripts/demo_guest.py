# SPDX-License-Identifier: MIT
"""The demo, run inside the guest: each example on a real tree, each promise checked and printed.

Usage: demo_guest.py ARCHIVE, a tar of the lower tree (made by demo.sh).

Exits with 1 when a promise does not hold.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import fusebpf

HERE = Path(__file__).resolve().parent.parent
EXAMPLES = HERE / "examples"

#: Planted in the tree: path, content.
SECRETS = {
    ".env": "API_TOKEN=planted\n",
    "deploy/.env": "API_TOKEN=planted too\n",
    "deploy/id_rsa": "-----BEGIN OPENSSH PRIVATE KEY-----\n",
    "deploy/tls/server.pem": "-----BEGIN CERTIFICATE-----\n",
    "deploy/tls/server.key": "-----BEGIN PRIVATE KEY-----\n",
    "vault.kdbx": "planted\n",
}


class Report:
    """Prints promises as they are checked and counts the broken ones."""

    def __init__(self) -> None:
        self.held = 0
        self.broken = 0

    def title(self, text: str) -> None:
        """Start a section."""
        print(f"\n{text}", flush=True)

    def promise(self, text: str, holds: bool, detail: str = "") -> None:
        """One line: what was promised, whether it held, what was seen."""
        self.held += holds
        self.broken += not holds
        print(f"  {'ok    ' if holds else 'BROKEN'}  {text}{f'  ({detail})' if detail else ''}")
        sys.stdout.flush()


def run(*command: str, cwd: Path | None = None, uid: int | None = None) -> tuple[int, str]:
    """Exit status and all output of a command."""
    done = subprocess.run(
        command, cwd=cwd, user=uid, capture_output=True, text=True, errors="replace", check=False
    )
    return done.returncode, done.stdout + done.stderr


def must(*command: str, cwd: Path | None = None) -> str:
    """Output of a command that the demo itself depends on."""
    status, out = run(*command, cwd=cwd)
    if status:
        raise SystemExit(f"demo: {' '.join(command)} failed with {status}:\n{out}")
    return out


def make_tree(lower: Path) -> None:
    """Unpack the host's archive of a checkout and its documentation; plant the secrets."""
    must("tar", "-xf", sys.argv[1], "-C", str(lower), "--no-same-owner")
    for name, text in SECRETS.items():
        path = lower / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (lower / "deploy/notes.txt").write_text("nothing secret\n")


def sums(top: Path, skip: Callable[[str], bool] = lambda _name: False) -> dict[str, str]:
    """Every file and link below ``top`` by relative path: digest of its content, mode and size."""
    found: dict[str, str] = {}
    for directory, names, files in os.walk(top):
        names.sort()
        for name in (*files, *(n for n in names if (Path(directory) / n).is_symlink())):
            path = Path(directory) / name
            if skip(name):
                continue
            status = path.lstat()
            if path.is_symlink():
                what = str(path.readlink())
            else:
                what = hashlib.md5(path.read_bytes()).hexdigest()
            key = str(path.relative_to(top))
            found[key] = f"{status.st_mode:o} {status.st_uid} {status.st_size} {what}"
    return found


def is_secret(name: str) -> bool:
    """The planted names, by the file name alone."""
    return any(Path(secret).name == name for secret in SECRETS)


def secrets_in(text: str) -> list[str]:
    """The planted names that a command's output mentions."""
    return sorted({Path(name).name for name in SECRETS if Path(name).name in text})


def attach(example: str, lower: Path, mnt: Path) -> None:
    """Attach one example by the command line, as a user would."""
    print(f"  $ fusebpf attach examples/{example} LOWER MNT", flush=True)
    must("fusebpf", "attach", str(EXAMPLES / example), str(lower), str(mnt))


def demo_hide(report: Report, lower: Path, mnt: Path, reference: dict[str, str]) -> None:
    """hide_secrets.py: absent from every view, everything else identical."""
    report.title("hide_secrets.py: secrets do not exist behind the mount")
    _, below = run("find", ".", cwd=lower)
    report.promise("below the mount `find` shows every secret", len(secrets_in(below)) == 5)
    attach("hide_secrets.py", lower, mnt)
    for name, command in {
        "ls -R": ("ls", "-Ra"),
        "find": ("find", "."),
        "git status": ("git", "status", "--short"),
    }.items():
        status, out = run(*command, cwd=mnt)
        seen = secrets_in(out)
        lines = f"{len(out.splitlines())} lines"
        report.promise(f"`{name}` shows no secret", status == 0 and not seen, lines)
    _, below = run("git", "status", "--short", cwd=lower)
    report.promise("`git status` below the mount does show .env", "?? .env" in below)
    for name in SECRETS:
        status, out = run("cat", name, cwd=mnt)
        gone = status != 0 and "No such file or directory" in out
        report.promise(f"`cat {name}` finds nothing", gone)
    archive = mnt.parent / "all.tar"
    must("tar", "-cf", str(archive), "-C", str(mnt), ".")
    with tarfile.open(archive) as tar:
        packed = [member.name for member in tar.getmembers()]
    archive.unlink()
    leaked = [name for name in packed if is_secret(Path(name).name)]
    report.promise("`tar` packs no secret", bool(packed) and not leaked, f"{len(packed)} members")
    status, out = run("sh", "-c", "echo x > .env", cwd=mnt)
    report.promise("a hidden name cannot be created", status != 0, out.strip())
    seen_sums = sums(mnt)
    expected = {k: v for k, v in reference.items() if not is_secret(Path(k).name)}
    report.promise(
        "everything else is byte-identical to the lower tree",
        seen_sums == expected,
        f"{len(seen_sums)} files and links compared",
    )
    must("fusebpf", "detach", str(mnt))


def demo_read_only(report: Report, lower: Path, mnt: Path, reference: dict[str, str]) -> None:
    """read_only.py: reading works, writing is refused, nothing changes."""
    report.title("read_only.py: everything can be read, nothing written")
    attach("read_only.py", lower, mnt)
    for name, command in {
        "appending to README.md": "echo x >> README.md",
        "truncating README.md": ": > README.md",
        "creating new.txt": "echo x > new.txt",
        "creating deploy/new.txt": "touch deploy/new.txt",
    }.items():
        status, out = run("sh", "-c", command, cwd=mnt)
        refused = status != 0 and "Read-only file system" in out
        report.promise(f"{name} is refused with EROFS", refused)
    status, out = run("cat", "README.md", cwd=mnt)
    report.promise("README.md reads as below", out == (lower / "README.md").read_text())
    must("fusebpf", "detach", str(mnt))
    report.promise("the lower tree is unchanged", sums(lower) == reference)


def demo_audit(report: Report, lower: Path, mnt: Path) -> None:
    """audit_opens.py: the counters in the map are exact."""
    report.title("audit_opens.py: opens counted per user id")
    print("  >>> with fusebpf.attach('audit_opens.py', LOWER, MNT) as mount: ...", flush=True)
    mnt.parent.chmod(0o755)
    names = sorted(path.name for path in lower.iterdir() if path.is_file())[:7]
    with fusebpf.attach(EXAMPLES / "audit_opens.py", lower, mnt) as mount:
        before = mount.maps["opens"].get(0, 0)
        for _ in range(3):
            for name in names:
                (mnt / name).read_bytes()
        root = mount.maps["opens"].get(0, 0) - before
        report.promise("opens by uid 0", root == 3 * len(names), f"{root} in the map")
        for _ in range(5):
            status, out = run("cat", str(mnt / "README.md"), uid=1000)
        report.promise("uid 1000 can read", status == 0 and bool(out))
        count = mount.maps["opens"].get(1000, 0)
        report.promise("opens by uid 1000", count == 5, f"{count} in the map")
    report.promise("detached at the end of the block", not os.path.ismount(mnt))


def main() -> None:
    """Run every part and say how many promises held."""
    report = Report()
    started = time.monotonic()
    top = Path("/tmp/demo")
    lower, mnt = top / "lower", top / "mnt"
    lower.mkdir(parents=True)
    mnt.mkdir()
    print(f"kernel {os.uname().release}, fusebpf {fusebpf.__version__}", flush=True)
    make_tree(lower)
    reference = sums(lower)
    print(f"lower tree: {len(reference)} files and links, {len(SECRETS)} of them secret")
    demo_hide(report, lower, mnt, reference)
    demo_read_only(report, lower, mnt, reference)
    demo_audit(report, lower, mnt)
    report.title("afterwards")
    report.promise("no mount is left", "fuse_bpf" not in Path("/proc/self/mounts").read_text())
    left = must("fusebpf", "ls").strip()
    report.promise("`fusebpf ls` shows nothing attached", str(mnt) not in left)
    seconds = time.monotonic() - started
    total = report.held + report.broken
    print(f"\n{report.held} of {total} promises held, {seconds:.0f} s in the guest", flush=True)
    sys.exit(1 if report.broken else 0)


if __name__ == "__main__":
    main()
