# SPDX-License-Identifier: MIT
"""`make test-matrix`: every kernel that fusebpf is tried on, and what came of it.

    matrix.py [KERNEL...]               try these (all by default), write down the results
    matrix.py --report KERNEL FILE...   write down reports that `make test-vm KERNEL=…` made;
                                        --release R if they are older than what tells their kernel
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import check
import stepping

TREE = Path(__file__).resolve().parent.parent
JUNIT = TREE / "build/junit"
RESULTS = TREE / "docs/kernels.json"
PAGE = TREE / "docs/kernels.md"
# A kernel with sanitizers takes several times as long as the stock one
GUEST_SECONDS = 4 * 3600
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
    "backports": Kernel("Debian 13 backports", "module"),
    "sid": Kernel("Debian unstable", "module", suite="sid"),
}


def run_tests(name: str) -> Result:
    """Run tests/vm on a kernel, its parts side by side as in `make test`."""
    steps = [
        check.guest_step(
            f"matrix-{name}-{part.name}",
            *part.tests,
            boot=("--kernel", name, *part.boot),
            seconds=GUEST_SECONDS,
        )
        for part in check.PARTS
    ]
    JUNIT.mkdir(parents=True, exist_ok=True)
    reports = [JUNIT / f"{step.name}.xml" for step in steps]
    for report in reports:
        report.unlink(missing_ok=True)
    with stepping.ending_by_signals():
        outcomes = list(stepping.run_all(steps, stepping.places()))
    check.summarize(outcomes)
    for outcome in outcomes:
        # 1: pytest ended, tests failed
        if outcome.status not in (0, 1) or not (JUNIT / f"{outcome.step.name}.xml").is_file():
            sys.exit(
                f"matrix: {outcome.step.name} ended with status {outcome.status}: its results"
                " are not whole, and none are written down"
            )
    return read_reports(name, reports)


def read_reports(name: str, reports: Sequence[Path], release: str | None = None) -> Result:
    """Return what junit files of tests/vm say; `release` is their kernel's if they do not."""
    counts: Counter[str] = Counter()
    skips: Counter[str] = Counter()
    versions: dict[str | None, str | None] = {}
    date = ""
    for report in reports:
        try:
            suite = next(ET.parse(report).getroot().iter("testsuite"), None)
        except OSError as error:
            sys.exit(f"matrix: {report}: {error.strerror}")
        except ET.ParseError as error:
            sys.exit(f"matrix: {report}: {error}")
        if suite is None:
            sys.exit(f"matrix: {report} has no testsuite: it is no report of tests/vm")
        versions |= {node.get("name"): node.get("value") for node in suite.iter("property")}
        date = max(date, suite.get("timestamp", "")[:10])
        skips.update(node.get("message", "") for node in suite.iter("skipped"))
        counts["failed"] += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        counts["skipped"] += int(suite.get("skipped", 0))
        counts["tests"] += int(suite.get("tests", 0))
        counts["seconds"] += round(float(suite.get("time", 0)))
    if release:
        versions.setdefault("kernel", release)
    if "kernel" not in versions:
        sys.exit(f"matrix: {reports[0]} does not tell its kernel: it is no report of tests/vm")
    return {
        "kernel": name,
        "release": versions.pop("kernel"),
        "date": date,
        "passed": counts["tests"] - counts["failed"] - counts["skipped"],
        "failed": counts["failed"],
        "skipped": counts["skipped"],
        "seconds": counts["seconds"],
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
    parser.add_argument("--report", nargs="+", metavar=("KERNEL", "FILE"))
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
        if not asked.report[1:]:
            parser.error("--report needs the files too")
        save(read_reports(asked.report[0], [Path(f) for f in asked.report[1:]], asked.release))
        return 0
    failed = 0
    for name in names:
        suite = KERNELS[name].suite
        try:
            result = try_patches(name, suite) if suite else run_tests(name)
        except stepping.ToldToEndError as signal:
            print(f"matrix: ended by {signal}; nothing of it goes on", file=sys.stderr)
            return 128 + signal.number
        save(result)
        failed += result.get("failed", 0)
        print(f"matrix: {name}: {result['release']}: {outcome(result)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
