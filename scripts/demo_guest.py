# SPDX-License-Identifier: MIT
"""The demo, run inside the guest: each example on a real tree, each promise checked and printed.

Usage: demo_guest.py ARCHIVE OBJECTS: a tar of the lower tree, and the directory with the compiled
examples (made by demo.sh).

Exits with 1 when a promise does not hold.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import fusebpf

HERE = Path(__file__).resolve().parent.parent
ARCHIVE, OBJECTS = Path(sys.argv[1]), Path(sys.argv[2])

#: The names that the example hides, from the example itself.
HIDE = runpy.run_path(str(HERE / "examples/hide_secrets.py"))

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
    must("tar", "-xf", str(ARCHIVE), "-C", str(lower), "--no-same-owner")
    for name, text in SECRETS.items():
        path = lower / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (lower / "deploy/notes.txt").write_text("nothing secret\n")


def sums(top: Path) -> dict[str, str]:
    """Every entry below ``top`` by its path: mode, owner, size, link target, checksum of a file."""
    found: dict[str, str] = {}
    listing = must("find", ".", "-mindepth", "1", "-printf", r"%p\t%M %U:%G %l %y\t%s\n", cwd=top)
    for line in listing.splitlines():
        path, what, size = line.split("\t")
        # The size of a directory is the lower file system's own affair.
        found[path] = what if what.endswith("d") else f"{what} {size}"
    checksums = must("sh", "-c", "find . -type f -print0 | xargs -0 md5sum -z", cwd=top)
    for line in checksums.split("\0")[:-1]:
        checksum, _, path = line.partition("  ")
        found[path] += f" {checksum}"
    return found


def is_hidden(path: str) -> bool:
    """Whether the example hides an entry: its own name, or that of a directory above it."""
    return any(
        part in HIDE["NAMES"] or part.endswith(HIDE["SUFFIXES"]) for part in Path(path).parts
    )


def hidden_in(lines: str) -> list[str]:
    """The lines of a listing (a path each) that show what must not be shown."""
    return [line for line in lines.splitlines() if is_hidden(line.strip().rstrip(":"))]


def attach(example: str, lower: Path, mnt: Path) -> None:
    """Attach one example by the command line, as a user would."""
    built = OBJECTS / example.replace(".py", ".o")
    print(f"  $ fusebpf attach {built.name} LOWER MNT", flush=True)
    must("fusebpf", "attach", str(built), str(lower), str(mnt))


def demo_hide(report: Report, lower: Path, mnt: Path, reference: dict[str, str]) -> None:
    """hide_secrets.py: absent from every view, everything else identical."""
    report.title("hide_secrets.py: secrets do not exist behind the mount")
    below = hidden_in(must("find", ".", cwd=lower))
    planted = sum(line.removeprefix("./") in SECRETS for line in below)
    report.promise(
        "below the mount `find` shows every planted secret",
        planted == len(SECRETS),
        f"{planted}, and {len(below) - planted} of such names in the documentation",
    )
    attach("hide_secrets.py", lower, mnt)
    for name, command in {"ls -R": ("ls", "-R1a"), "find": ("find", ".")}.items():
        status, out = run(*command, cwd=mnt)
        lines = f"{len(out.splitlines())} lines"
        report.promise(f"`{name}` shows no secret", status == 0 and not hidden_in(out), lines)
    # Without the optional locks git would write its index, and the tree would not be the same.
    git_status = ("git", "--no-optional-locks", "status", "--short", "--untracked-files=all")
    status, out = run(*git_status, cwd=mnt)
    report.promise(
        "`git status` speaks of the one planted file that is no secret",
        status == 0 and out == "?? deploy/notes.txt\n",
        out.strip(),
    )
    _, out = run(*git_status, cwd=lower)
    report.promise("`git status` below the mount does show .env", "?? .env" in out)
    for name in SECRETS:
        status, out = run("cat", name, cwd=mnt)
        gone = status != 0 and "No such file or directory" in out
        report.promise(f"`cat {name}` finds nothing", gone)
    archive = mnt.parent / "all.tar"
    must("tar", "-cf", str(archive), "-C", str(mnt), ".")
    packed = must("tar", "-tf", str(archive))
    archive.unlink()
    count = f"{len(packed.splitlines())} members"
    report.promise("`tar` packs no secret", bool(packed) and not hidden_in(packed), count)
    status, out = run("sh", "-c", "echo x > .env", cwd=mnt)
    report.promise("a hidden name cannot be created", status != 0, out.strip())
    seen = sums(mnt)
    expected = {path: what for path, what in reference.items() if not is_hidden(path)}
    report.promise(
        "everything else is byte-identical to the lower tree",
        seen == expected,
        f"{len(seen)} entries, checksum of every file",
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
    print("  >>> with fusebpf.attach('audit_opens.o', LOWER, MNT) as mount: ...", flush=True)
    mnt.parent.chmod(0o755)
    names = sorted(path.name for path in lower.iterdir() if path.is_file())[:7]
    with fusebpf.attach(OBJECTS / "audit_opens.o", lower, mnt) as mount:
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
    seconds = time.monotonic() - started
    print(f"lower tree: {len(reference)} entries, {len(SECRETS)} planted secrets, {seconds:.0f} s")
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
