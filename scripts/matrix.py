# SPDX-License-Identifier: MIT
"""`make test-matrix`: every kernel that fusebpf is tried on, and what came of it.

    matrix.py [KERNEL...]               try these (all by default), write down the results
    matrix.py --report KERNEL FILE      write down a report that `make test-vm KERNEL=…` made;
                                        --release R if it is older than what tells its kernel
    matrix.py --table                   only write the table anew

A kernel is one entry of KERNELS: either tests/vm runs on it, or what the patches meet in its source
is told. The results stand in docs/kernels.json, docs/kernels.md shows them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parent.parent
JUNIT = TREE / "build/junit"
RESULTS = TREE / "docs/kernels.json"
PAGE = TREE / "docs/kernels.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"

Result = dict[str, Any]


@dataclass(frozen=True)
class Kernel:
    """A kernel: one to run tests on (`suite` None), or one whose source is looked at."""

    title: str
    form: str
    suite: str | None = None


KERNELS = {
    "stock": Kernel("Debian 13", "module"),
    "debian12": Kernel("Debian 12", "module"),
    "patched": Kernel("our build of Debian 13's source", "in the kernel"),
    "debug": Kernel("the same with sanitizers and lock checks", "in the kernel"),
    "backports": Kernel("Debian 13 backports", "module", suite="trixie-backports"),
    "sid": Kernel("Debian unstable", "module", suite="sid"),
}


def run_tests(name: str) -> Result:
    """Run tests/vm on a kernel; the report says how it went."""
    report = JUNIT / f"matrix-{name}.xml"
    report.unlink(missing_ok=True)
    JUNIT.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fusebpf.vm", "run", "--kernel", name, "--rw", str(JUNIT)]
    command += ["--", "python", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "no:hypothesispytest", f"--junitxml={report}", "tests/vm"]
    status = subprocess.run(command, cwd=TREE, stdin=subprocess.DEVNULL, check=False).returncode
    if not report.is_file():
        sys.exit(f"matrix: the guest with {name} ended with status {status} and without a report")
    return read_report(name, report)


def read_report(name: str, report: Path, release: str | None = None) -> Result:
    """Return what a junit file of tests/vm says; `release` is its kernel's if it does not."""
    suite = next(ET.parse(report).getroot().iter("testsuite"))
    versions = {node.get("name"): node.get("value") for node in suite.iter("property")}
    if release and "kernel" not in versions:
        versions["kernel"] = release
    if "kernel" not in versions:
        sys.exit(f"matrix: {report} does not tell its kernel: it is no report of tests/vm")
    skips = Counter(node.get("message", "") for node in suite.iter("skipped"))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = int(suite.get("skipped", 0))
    return {
        "kernel": name,
        "release": versions.pop("kernel"),
        "date": suite.get("timestamp", "")[:10],
        "passed": int(suite.get("tests", 0)) - failed - skipped,
        "failed": failed,
        "skipped": skipped,
        "seconds": round(float(suite.get("time", 0))),
        "skips": dict(sorted(skips.items())),
        "versions": versions,
    }


def try_patches(name: str, suite: str) -> Result:
    """Try the patches on the newest kernel source of a suite."""
    from private_apt import PrivateApt

    place = TREE / "build/matrix" / name
    apt = PrivateApt(place, (suite,))
    depends = apt.run("apt-cache", "depends", "linux-source")
    found = re.search(r"Depends: (linux-source-[\d.]+)", depends)
    if found is None:
        sys.exit(f"matrix: {suite} has no linux-source")
    package = found[1]
    apt.run("apt-get", "--quiet=2", "download", package, cwd=place)
    archive = max(place.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
    subprocess.run(["dpkg-deb", "--extract", archive, place], check=True)
    shown = subprocess.run(
        [sys.executable, "kernel/port.py", str(place / "usr/src" / f"{package}.tar.xz")],
        cwd=TREE,
        stdout=subprocess.PIPE,
        check=True,
    )
    tried = json.loads(shown.stdout)[0]
    version = subprocess.run(
        ["dpkg-deb", "--field", archive, "Version"], stdout=subprocess.PIPE, text=True, check=True
    )
    return {
        "kernel": name,
        "release": tried["version"],
        "package": f"{package} {version.stdout.strip()}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        **{key: tried[key] for key in ("hunks", "applied", "obstacles")},
    }


def load() -> dict[str, Result]:
    """Return the results that are written down, in the order of KERNELS."""
    known = {entry["kernel"]: entry for entry in json.loads(RESULTS.read_text())}
    return {name: known[name] for name in KERNELS if name in known}


def save(result: Result) -> None:
    """Write a result down in the place of its kernel's last one, and the table."""
    results = load() | {result["kernel"]: result}
    ordered = [results[name] for name in KERNELS if name in results]
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
    write_table()


def outcome(result: Result | None) -> str:
    """Say in a cell of the table what came of a kernel."""
    if result is None:
        return "not tried yet"
    if "obstacles" in result:
        if not result["obstacles"]:
            return f"all {result['hunks']} hunks of the patches apply; not built yet"
        first = result["obstacles"][0]
        return (
            f"not supported: {result['applied']} of {result['hunks']} hunks of the patches apply; "
            f"the first that does not is for `{first['file']}`, line {first['line']}: "
            f"{first['why']}"
        )
    counts = ("passed", "failed", "skipped")
    return ", ".join(f"{result[what]:,} {what}" for what in counts)


def table(results: dict[str, Result]) -> str:
    """Return the results as Markdown."""
    lines = ["| kernel | | fuse-bpf | release | date | tests/vm |", "|-|-|-|-|-|-|"]
    skips = []
    for name, kernel in KERNELS.items():
        result = results.get(name)
        release, date = (result["release"], result["date"]) if result else ("", "")
        cells = (f"`{name}`", kernel.title, kernel.form, release, date, outcome(result))
        lines.append("| " + " | ".join(cells).replace("  ", " ") + " |")
        for reason, count in (result or {}).get("skips", {}).items():
            skips.append(f"| `{name}` | {count} | {reason.replace('|', chr(92) + '|')} |")
    if skips:
        lines += ["", "Left out, and why:", "", "| kernel | tests | reason |", "|-|-|-|", *skips]
    return "\n".join(lines)


def page(text: str, results: dict[str, Result]) -> str:
    """Return the page with the results in their place."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table(results)}\n{END}{after}"


def write_table() -> None:
    """Write the results into the page."""
    PAGE.write_text(page(PAGE.read_text(), load()))


def main() -> int:
    """Do what the arguments ask for; 1 when a test failed."""
    parser = argparse.ArgumentParser(description="Try fusebpf on kernels.")
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help=f"of {', '.join(KERNELS)}")
    parser.add_argument("--report", nargs=2, metavar=("KERNEL", "FILE"))
    parser.add_argument("--release", metavar="R")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    names = asked.kernels or list(KERNELS)
    named = [*names, *(asked.report[:1] if asked.report else [])]
    if unknown := sorted(set(named) - set(KERNELS)):
        parser.error(f"no kernel {unknown[0]}: give some of {', '.join(KERNELS)}")
    if asked.table:
        write_table()
        return 0
    if asked.report:
        save(read_report(asked.report[0], Path(asked.report[1]), asked.release))
        return 0
    failed = 0
    for name in names:
        suite = KERNELS[name].suite
        result = try_patches(name, suite) if suite else run_tests(name)
        save(result)
        failed += result.get("failed", 0)
        print(f"matrix: {name}: {result['release']}: {outcome(result)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
