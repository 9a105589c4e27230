# SPDX-License-Identifier: MIT
"""What the verifier lets a filter do with its arguments."""

from __future__ import annotations

import pytest

from fusebpf.runtime.libbpf import LibbpfError
from tests.vm import kernelkit as kit

REFUSED = {
    "bad_store_const": "this struct is read-only in a postfilter",
    "bad_store_past_end": "is outside of 8 bytes",
    "bad_store_meta": "only a prefilter's in and a postfilter's out are writable",
    "bad_store_buffer": "only a prefilter's in and a postfilter's out are writable",
    "bad_read_past_name": "invalid access to memory, mem_size=16 off=16",
    "bad_store_ro": "cannot write into rdonly_mem",
    "bad_store_dirent": "only a prefilter's in and a postfilter's out are writable",
    "bad_sleepable": "attach to unsupported member open_prefilter of struct fuse_ops",
}


@pytest.mark.parametrize("program", REFUSED)
def test_refused(program: str) -> None:
    opened = kit.open_ops((), "bad", f"ops_{program}")
    try:
        with pytest.raises(LibbpfError) as caught:
            opened.load()
        assert REFUSED[program] in caught.value.log
    finally:
        opened.close()


def test_accepted() -> None:
    """All members that are served, loaded at once."""
    with kit.filters() as f:
        assert f.link.id > 0
