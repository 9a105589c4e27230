# SPDX-License-Identifier: MIT
"""Let the running kernel's verifier judge an object, without attaching it."""

from __future__ import annotations

import os
from typing import Literal

from fusebpf.build.metadata import Metadata
from fusebpf.errors import UnsupportedKernelError
from fusebpf.frozen import dataclass
from fusebpf.runtime import features
from fusebpf.runtime.load import load, open_ops, open_standin

Verified = Literal["fuse-bpf", "stand-in", "no"]


@dataclass(frozen=True)
class Verification:
    """`verified` is as what the programs were accepted; `reason` why not as struct_ops, or ""."""

    verified: Verified
    reason: str


def verify(data: bytes, metadata: Metadata) -> Verification:
    """Load an object's programs and drop them again.

    With fuse-bpf they are loaded as they would be attached; without, as stand-ins, which differ
    in how arguments arrive (bpf/fusebpf.h). Raises VerifierError when they are refused.
    """
    if os.geteuid() != 0:
        return Verification("no", "loading BPF programs needs root")
    kernel = features.probe()
    reason = "this kernel has no fuse-bpf"
    if kernel is not None:
        try:
            opened, _name = open_ops(data, kernel)
        except UnsupportedKernelError as error:
            reason = error.message
        else:
            with opened:
                load(opened, metadata)
            return Verification("fuse-bpf", "")
    with open_standin(data) as opened:
        load(opened, metadata)
    return Verification("stand-in", reason)
