# SPDX-License-Identifier: MIT
"""Mounting with a daemon: the device's descriptor among the mount options."""

from __future__ import annotations

import os
from pathlib import Path

from fusebpf.daemon.device import Device
from fusebpf.runtime import features
from fusebpf.runtime.fsmount import FsContext, move_mount


def mount(
    device: Device,
    target: Path,
    *,
    lower: Path | None = None,
    root_bpf_link: int | None = None,
    **options: str | int | bool,
) -> None:
    """Mount what a daemon serves at ``target``.

    ``lower`` is a directory to lie below the root, ``root_bpf_link`` the descriptor of the filters'
    link. Further mount options are flags (True), strings or numbers. The daemon must be served for
    the mount to answer; mounting itself does not wait for it.

    Raises MountError with the kernel's own text, OSError.
    """
    with FsContext(features.fs_type() or features.MODULE_FS_TYPE) as context:
        context.set_source(lower or "fusebpf")
        context.set_string("fd", str(device.fileno()))
        if lower is None:
            for key, value in {"rootmode": "40000", "user_id": "0", "group_id": "0"}.items():
                context.set_string(key, value)
            root = -1
        else:
            root = os.open(lower, os.O_PATH | os.O_DIRECTORY)
        try:
            if root >= 0:
                context.set_string("root_dir", str(root))
            if root_bpf_link is not None:
                context.set_string("root_bpf_link", str(root_bpf_link))
            for key, option in options.items():
                if option is True:
                    context.set_flag(key)
                elif option is not False:
                    context.set_string(key, str(option))
            fd = context.mount()
            below = any(key.startswith(("root_bpf", "root_dir")) for key in options)
            device.alone = lower is None and root_bpf_link is None and not below
        finally:
            if root >= 0:
                os.close(root)
    try:
        move_mount(fd, target)
    finally:
        os.close(fd)
