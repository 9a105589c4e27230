# SPDX-License-Identifier: MIT
"""`mount.fuse_bpf`: what mount(8) runs for the type fuse_bpf, as for a line of fstab(5):

    /srv/data  /mnt/data  fuse_bpf  filter=/etc/fusebpf/guard.bpf.o,ro,nosuid  0 0

The status is mount(8)'s: 1 wrong use or no permission, 2 a failure of the system, 32 mount failed.
"""

from __future__ import annotations

import errno
import io
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fusebpf.errors import FusebpfError, PrivilegeError, UsageError
from fusebpf.mountoptions import LISTED, Options, parse_options

if TYPE_CHECKING:
    from fusebpf.runtime.mountinfo import MountEntry

EXIT_USE = 1
EXIT_SYSTEM = 2
EXIT_INTERRUPT = 8
EXIT_MOUNT = 32

INSTALLED = (Path("/etc/fusebpf"), Path("/usr/local/lib/fusebpf"), Path("/usr/lib/fusebpf"))
"""Where a filter set is looked for that is given by its name alone: NAME.bpf.o."""

_USAGE = "usage: mount.fuse_bpf LOWER MOUNTPOINT [-fnsv] -o filter=FILE[,OPTION...]"


@dataclass
class Call:
    """What mount(8) asks for."""

    lower: str = ""
    mountpoint: str = ""
    options: Options = field(default_factory=Options)
    fake: bool = False
    verbose: bool = False


def parse(arguments: Sequence[str]) -> Call:
    """Understand the arguments, in any order. Raises UsageError."""
    call, places, texts, sloppy = Call(), [], [], False
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            places.append(word)
            continue
        for number, letter in enumerate(word[1:], 2):
            if letter in "oNt":
                value = word[number:] or (rest.pop(0) if rest else "")
                if not value:
                    raise UsageError(f"option -{letter} needs a value", _USAGE)
                if letter == "o":
                    texts.append(value)
                elif letter == "N":
                    raise UsageError("option -N (a namespace) is not served", "use nsenter -m")
                break
            if letter not in "fnsv":
                raise UsageError(f"unknown option -{letter}", _USAGE)
            call.fake |= letter == "f"
            call.verbose |= letter == "v"
            sloppy |= letter == "s"
    if len(places) != 2:
        raise UsageError(f"a lower directory and a mount point are needed, not {places}", _USAGE)
    call.lower, call.mountpoint = places
    call.options = parse_options(",".join(texts), sloppy)
    return call


def trusted(name: str) -> Path:
    """The object of a filter= option, which root alone can have put there. Raises FusebpfError."""
    from fusebpf.objfile import is_object

    path = Path(name)
    if "/" not in name:
        if name.endswith(".bpf.o"):
            raise UsageError(
                f"filter={name} has no directory",
                f"give the path from / on, or the name alone: filter={name.removesuffix('.bpf.o')}",
            )
        path = next(
            (found for at in INSTALLED if (found := at / f"{name}.bpf.o").exists()),
            INSTALLED[0] / f"{name}.bpf.o",
        )
    elif not path.is_absolute():
        raise UsageError(f"filter={name} is no absolute path", "give the path from / on")
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise FusebpfError(
            f"cannot open the filters {path}: {getattr(error, 'strerror', error)}",
            f"fusebpf compile FILE.py -o {path}",
        ) from None
    if not real.is_file() or not is_object(real):
        raise FusebpfError(
            f"{path} is no object; a mount takes nothing else, as mounting must not run Python",
            f"compile the filter file: fusebpf compile FILE.py -o {path.with_suffix('.bpf.o')}",
        )
    for part in _way(path):
        info = part.lstat()
        if info.st_uid != 0 or _writable_by_others(info.st_mode):
            raise FusebpfError(
                f"{part} can be changed by others than root: its filters are not trusted",
                f"chown root {part}; chmod go-w {part}",
            )
    return real


def _writable_by_others(mode: int) -> bool:
    # Of a link the mode says nothing; in a sticky directory only its owner replaces a file.
    if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return False
    return bool(mode & 0o022)


def _way(path: Path) -> Iterator[Path]:
    """All on the way to a file, links included: who can change one of them chooses the file."""
    at, rest = Path("/"), list(path.parts[1:])
    yield at
    while rest:
        step = at / rest.pop(0)
        if step.is_symlink():
            yield step
            target = step.readlink()
            at = Path("/") if target.is_absolute() else at
            rest = [*target.relative_to(target.anchor).parts, *rest]
        else:
            at = step.parent.parent if step.name == ".." else step
            yield at


def run(call: Call) -> None:
    """Mount, or change a mount. Raises FusebpfError."""
    from fusebpf.runtime import config, features, mounting

    options = call.options
    features.require_root("mounting")
    chosen = config.parse((f"{name}={text}" for name, text in options.settings.items()), "set=")
    if options.remount:
        _remount(call, chosen)
        return
    if options.shown:
        raise UsageError(f"option {next(iter(options.shown))} is the kernel's to show", LISTED)
    if not options.filter:
        raise UsageError("option filter= is missing", "e.g. filter=/etc/fusebpf/X.bpf.o")
    path = trusted(options.filter)
    if not call.fake:
        mounting.attach(
            path, call.lower, call.mountpoint, config=chosen, attributes=options.attributes
        ).close()


def _remount(call: Call, chosen: Mapping[str, int]) -> None:
    """Other filters, other attributes, or both; after an error all is as before."""
    from fusebpf.runtime import mounts
    from fusebpf.runtime.signals import uninterrupted

    options = call.options
    entry, _link = mounts.filtered(call.mountpoint, "remounting")
    for key, value in options.shown.items():
        if entry.super_options.get(key) != value:
            raise UsageError(f"option {key} cannot be changed", "unmount it, then mount it again")
    if options.settings and not options.filter:
        raise UsageError("option set= is of no use without filter=", "name the filters, too")
    path = trusted(options.filter) if options.filter else None
    if call.fake:
        return
    with uninterrupted():
        _change(call, entry, path, chosen)


def _change(call: Call, entry: MountEntry, path: Path | None, chosen: Mapping[str, int]) -> None:
    from fusebpf.runtime import mounts, replacing
    from fusebpf.runtime.fsmount import set_attributes

    options = call.options
    if path is None:
        _set_options(call)
        return
    source = mounts.status(call.mountpoint).source_sha256
    changed = False

    def prepare(_maps: object) -> None:
        # When nothing is left but to put the filters in force.
        nonlocal changed
        _set_options(call)
        changed = True

    try:
        done = replacing.replace(call.mountpoint, path, config=chosen, prepare=prepare)
    except BaseException:
        if changed:
            # Of all times the kernel does not show this one.
            shown = ",".join(("strictatime", *entry.options))
            before = parse_options(shown, sloppy=True).attributes
            with suppress(OSError):  # why there are no other filters matters more
                set_attributes(call.mountpoint, before & options.clear, options.clear)
        raise
    if mounts.status(call.mountpoint).source_sha256 != source:
        # mount(8) adds filter= of fstab, which who meant the other options may not have in mind.
        print(
            f"mount.fuse_bpf: {call.mountpoint} has the filters of {path} now, "
            "where others were in force",
            file=sys.stderr,
        )
    for name, why in done.lost.items():
        print(f"mount.fuse_bpf: map {name} is not kept: {why}", file=sys.stderr)


def _set_options(call: Call) -> None:
    from fusebpf.runtime.fsmount import MountError, set_attributes

    try:
        set_attributes(call.mountpoint, call.options.attributes, call.options.clear)
    except OSError as error:
        busy = error.errno == errno.EBUSY
        raise MountError(
            f"cannot change the options of {call.mountpoint}: {error.strerror}",
            error.errno or 0,
            help=f"a file is open for writing there: fuser -vm {call.mountpoint}" if busy else None,
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; mount(8)'s status."""
    words = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may be of any bytes
    if "--help" in words or "-h" in words:
        print(f"{_USAGE}\n{LISTED}")
        return 0
    try:
        call = parse(words)
        run(call)
        if call.verbose:
            print(f"mount.fuse_bpf: {call.lower} on {call.mountpoint}")
    except KeyboardInterrupt:
        return EXIT_INTERRUPT
    except (UsageError, PrivilegeError) as error:
        print(f"mount.fuse_bpf: {error}", file=sys.stderr)
        return EXIT_USE
    except FusebpfError as error:
        print(f"mount.fuse_bpf: {error}", file=sys.stderr)
        return EXIT_MOUNT
    except OSError as error:
        print(f"mount.fuse_bpf: {error}", file=sys.stderr)
        return EXIT_SYSTEM
    return 0


if __name__ == "__main__":
    sys.exit(main())
