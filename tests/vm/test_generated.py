# SPDX-License-Identifier: MIT
"""The verifier takes what the compiler makes of random filters, as struct_ops programs.

FUSEBPF_OBJECTS is a directory of such objects (python -m tests.property.objects); without it a
few are made here.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusebpf import objfile
from fusebpf.abi import HOOKS
from fusebpf.build import build_file
from fusebpf.runtime.load import VerifierError
from fusebpf.runtime.verify import verify
from tests.property.objects import write_objects
from tests.property.test_found import FOUND
from tests.vm import kernelkit as kit

APART = """from fusebpf import Context, CopyFileRangeIn, FilterSet, OpenIn
from fusebpf.constants import EPERM
from fusebpf.types import u32, u64

filters = FilterSet("apart")
large = filters.array("large", value=u64, max_entries=8)
small = filters.array("small", value=u32, max_entries=8)

@filters.copy_file_range.pre
def loads(ctx: Context, req: CopyFileRangeIn):
    if u64(req.flags if req.nodeid_out > large[0] else large[4]) == 3:
        return -EPERM

@filters.open.pre
def stores(ctx: Context, req: OpenIn):
    if ctx.uid == 5:
        req.flags = 7
    else:
        small[0] = 7
"""

OBJECTS = os.environ.get("FUSEBPF_OBJECTS")


@pytest.mark.timeout(0 if OBJECTS else 300)
def test_random_filters_are_verified(tmp_path: Path) -> None:
    directory = Path(OBJECTS or tmp_path)
    if not OBJECTS:
        write_objects(directory, 8)
    loaded = left = 0
    for path in sorted(directory.glob("*.o")):
        entry = objfile.read(path)
        hooks = [hook.hook for hook in entry.metadata.hooks]
        if not all(kit.served(HOOKS[hook]) for hook in hooks if hook in HOOKS):
            left += 1
            continue
        try:
            assert verify(entry.data, entry.metadata).verified == "fuse-bpf"
        except VerifierError as error:
            pytest.fail(f"{path}: {error}\n{error.log[-4000:]}", pytrace=False)
        loaded += len(hooks)
    print(f"{loaded} programs loaded, {left} sets with a hook that this kernel does not serve")
    assert loaded


def test_arguments_and_other_memory_are_reached_apart(tmp_path: Path) -> None:
    """The verifier takes no instruction that loads from either, which clang would make."""
    path = tmp_path / "apart.py"
    path.write_text(APART)
    built = build_file(path, standins=False)
    assert verify(built.data, built.metadata).verified == "fuse-bpf"


@pytest.mark.parametrize("name", ["load_that_nothing_uses", "replaced_then_read"])
def test_what_the_verifier_refused_as_struct_ops_alone(name: str) -> None:
    (path,) = [path for path in FOUND if path.stem == name]
    built = build_file(path, standins=False)
    assert verify(built.data, built.metadata).verified == "fuse-bpf"
