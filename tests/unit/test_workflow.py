# SPDX-License-Identifier: MIT
"""The workflow for GitHub: of the form that GitHub takes, and nothing beside .ci/run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

TREE = Path(__file__).resolve().parents[2]
WORKFLOW = TREE / ".github/workflows/ci.yml"


def check_form(path: Path) -> subprocess.CompletedProcess[str]:
    """Compare a file with the schema of workflows."""
    command = [sys.executable, "-m", "check_jsonschema"]
    command += ["--builtin-schema", "vendor.github-workflows", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def steps() -> list[dict[str, Any]]:
    """Return the steps of its only job."""
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def test_has_the_form_of_a_workflow(tmp_path: Path) -> None:
    done = check_form(WORKFLOW)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOW.read_text().replace("runs-on:", "run-on:"))
    assert check_form(wrong).returncode != 0


def test_runs_what_ci_runs_and_no_other_check() -> None:
    scripts = [line.strip() for step in steps() for line in step.get("run", "").splitlines()]
    assert ".ci/run" in scripts
    ours = [line for line in scripts if "make " in line or "pytest" in line or "scripts/" in line]
    assert [line for line in ours if not line.startswith("apt-get")] == []


def test_keeps_the_cache_that_the_tools_use() -> None:
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    (cache,) = [step for step in steps() if step.get("uses", "").startswith("actions/cache@")]
    assert cache["with"]["path"] == job["env"]["FUSEBPF_CACHE"]
    for tree in ("fusebpf/vm", "kernel"):
        assert f"'{tree}/**'" in cache["with"]["key"]
        assert (TREE / tree).is_dir()


def test_the_weekly_run_takes_no_packages_from_the_cache() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert "schedule" in workflow[True]  # YAML's "on" is a truth value
    (cache,) = [step for step in steps() if step.get("uses", "").startswith("actions/cache")]
    assert cache["if"] == "github.event_name != 'schedule'"


def test_the_reports_are_kept_when_a_test_fails() -> None:
    (kept,) = [step for step in steps() if step.get("uses", "").startswith("actions/upload")]
    assert kept["if"] == "always()"
    assert kept["with"]["path"] == "build/junit"
