# SPDX-License-Identifier: MIT
"""`fusebpf detach`."""

from __future__ import annotations

from pathlib import Path

import click

from fusebpf.cli import arguments


@click.command()
@arguments.mountpoint()
@click.option("--lazy", is_flag=True, help="Take it out of sight now, end it with its last user.")
def detach(mountpoint: Path, lazy: bool) -> None:
    """Take the fuse-bpf mount at MOUNTPOINT off, filters and all; plain umount does the same."""
    from fusebpf.runtime import detach as unmount

    unmount(mountpoint, lazy)
