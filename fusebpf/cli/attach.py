# SPDX-License-Identifier: MIT
"""`fusebpf attach`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("filters", type=click.Path(path_type=Path))
@click.argument("lower", type=click.Path(path_type=Path))
@click.argument(  # its absence has errors of its own
    "mountpoint", type=click.Path(path_type=Path), required=False, metavar="MOUNTPOINT"
)
@click.option("--name", "set_name", metavar="NAME", help="Which set, when FILTERS has several.")
@click.option(
    "--set", "settings", metavar="NAME=VALUE", multiple=True, help="A config value of the set."
)
@click.option(
    "--daemon",
    "served",
    metavar="MODULE:CLASS",
    help="Start this daemon for what FILTERS send to user space; MODULE may be a path X.py.",
)
@click.option(
    "--daemon-log",
    "log",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append the daemon's output to this file.  [default: one in /run/fusebpf]",
)
def attach(
    filters: Path,
    lower: Path,
    mountpoint: Path | None,
    set_name: str | None,
    settings: tuple[str, ...],
    served: str | None,
    log: Path | None,
) -> None:
    """Mount LOWER at MOUNTPOINT with FILTERS (a filter file, or an object) in force.

    LOWER and MOUNTPOINT may be the same directory. Nothing has to keep running: the mount holds
    its filters until `fusebpf detach MOUNTPOINT` or umount.

    A daemon (--daemon) runs in the background; when this returns it serves. It ends with the mount.
    When it ends before, only what the filters send to it fails (ENOTCONN); `fusebpf show` tells so.
    """
    from fusebpf.runtime.config import parse

    if mountpoint is None:
        raise _without_mountpoint(filters, lower)
    config = parse(settings)
    if served is not None:
        from fusebpf.daemon import choosing
        from fusebpf.daemon.process import attach_with_daemon

        attach_with_daemon(
            filters,
            lower,
            mountpoint,
            choosing.parse(served),
            log=log,
            set_name=set_name,
            settings=settings,
            config=config,
        )
        return
    if log is not None:
        from fusebpf.errors import UsageError

        raise UsageError("--daemon-log is of no use without --daemon", "name the daemon, too")
    from fusebpf.runtime import attach as mount

    mount(filters, lower, mountpoint, set_name=set_name, config=config).close()


def _without_mountpoint(filters: Path, lower: Path) -> Exception:
    """The error for two arguments, which are meant where the mount is there already."""
    from fusebpf.errors import UsageError
    from fusebpf.runtime import mountinfo

    try:
        there = mountinfo.at(lower)
    except OSError:
        there = None
    if there is not None and there.is_fuse_bpf:
        return UsageError(
            f"{lower} is a fuse-bpf mount already",
            f"give it other filters: fusebpf replace {lower} {filters}",
        )
    return click.UsageError("Missing argument 'MOUNTPOINT'.", click.get_current_context())
