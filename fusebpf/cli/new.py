# SPDX-License-Identifier: MIT
"""`fusebpf new`."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

import click

FILTER = '''\
"""Names that end in .secret do not exist, and some users alone write files.

Who writes is set while it is mounted: `mount.maps["writers"][UID] = 1`.
"""

from fusebpf import CONTINUE, Context, FilterSet, Name, OpenIn, Verdict
from fusebpf.constants import EACCES, O_ACCMODE, O_RDONLY
from fusebpf.types import u32

filters = FilterSet("@NAME@")
writers = filters.hash("writers", key=u32, value=u32, max_entries=64)


@filters.visible
def shown(ctx: Context, name: Name) -> bool:
    return not name.endswith(".secret")


@filters.open.pre
def for_writing(ctx: Context, req: OpenIn) -> Verdict:
    if req.flags & O_ACCMODE != O_RDONLY and ctx.uid not in writers:
        return -EACCES
    return CONTINUE
'''

TESTS = '''\
"""Run with `fusebpf test @NAME@.py`, or pytest."""

from fusebpf import CONTINUE, OpenIn
from fusebpf.constants import EACCES, ENOENT, O_WRONLY
from fusebpf.testing import FilterRun


def test_secrets_do_not_exist(filters: FilterRun) -> None:
    assert filters.call("lookup.pre", name="plan.secret").verdict == -ENOENT
    assert filters.call("lookup.pre", name="plan.txt").verdict == CONTINUE
    listed = filters.call("readdir.post", entries=["plan.secret", "plan.txt"])
    assert listed.names == (b"plan.txt",)


def test_only_writers_write(filters: FilterRun) -> None:
    filters.maps["writers"][1000] = 1
    writing = OpenIn(flags=O_WRONLY)
    assert filters.call("open.pre", req=writing, uid=1000).verdict == CONTINUE
    assert filters.call("open.pre", req=writing, uid=5).verdict == -EACCES
    assert filters.call("open.pre", uid=5).verdict == CONTINUE
'''

PYPROJECT = """\
[project]
name = "@PROJECT@"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["fusebpf"]

[dependency-groups]
dev = ["fusebpf[test]", "mypy", "ruff"]

[tool.pytest.ini_options]
testpaths = ["."]

[tool.mypy]
strict = true
files = ["."]

[tool.ruff]
line-length = 100
"""


@click.command()
@click.argument("name")
def new(name: str) -> None:
    """Begin a filter: a directory NAME with NAME.py, its tests and a pyproject.toml.

    Nothing is overwritten. `fusebpf test NAME/NAME.py` passes at once.
    """
    from fusebpf.errors import FusebpfError

    _check(name)
    directory = Path(name)
    files = {
        f"{name}.py": (FILTER, "the filter"),
        f"test_{name}.py": (TESTS, "its tests"),
        "pyproject.toml": (PYPROJECT, "settings of pytest, mypy and ruff"),
    }
    try:
        directory.mkdir()
    except FileExistsError:
        raise FusebpfError(
            f"{name} exists", "choose another name: nothing is overwritten"
        ) from None
    except OSError as error:
        raise FusebpfError(f"cannot make {name}: {error.strerror}") from None
    width = max(len(str(directory / file)) for file in files)
    for file, (text, what) in files.items():
        path = directory / file
        path.write_text(text.replace("@NAME@", name).replace("@PROJECT@", name.replace("_", "-")))
        click.echo(f"{path!s:<{width}} {what}")
    click.echo(f"next: fusebpf check {directory / name}.py; fusebpf test {directory / name}.py")


def _check(name: str) -> None:
    from fusebpf.errors import UsageError

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        made = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_0123456789")[:64]
        raise UsageError(
            f"{name!r} cannot be the name of a filter file",
            f"use small letters, digits and _{f', e.g. {made}' if made else ''}",
        )
    taken = keyword.iskeyword(name) or name in sys.stdlib_module_names or name == "fusebpf"
    if taken or name.startswith("test_"):
        raise UsageError(f"{name!r} means something else to Python or pytest", f"e.g. my_{name}")
