# SPDX-License-Identifier: MIT
"""The options of a mount by mount(8): those of fuse-bpf, and those that every mount has."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusebpf.errors import UsageError
from fusebpf.spelling import closest

LISTED = "the options are listed in docs/mounting.md"

# mount_setattr(2): option -> attributes to clear, attributes to set
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 0x01, 0x02, 0x04, 0x08
_ATIME, _NOATIME, _STRICTATIME, _NODIRATIME, _NOSYMFOLLOW = 0x70, 0x10, 0x20, 0x80, 0x200000
ATTRIBUTES = {
    "ro": (0, _RDONLY),
    "rw": (_RDONLY, 0),
    "nosuid": (0, _NOSUID),
    "suid": (_NOSUID, 0),
    "nodev": (0, _NODEV),
    "dev": (_NODEV, 0),
    "noexec": (0, _NOEXEC),
    "exec": (_NOEXEC, 0),
    "noatime": (_ATIME, _NOATIME),
    "relatime": (_ATIME, 0),
    "strictatime": (_ATIME, _STRICTATIME),
    "nodiratime": (0, _NODIRATIME),
    "diratime": (_NODIRATIME, 0),
    "nosymfollow": (0, _NOSYMFOLLOW),
    "symfollow": (_NOSYMFOLLOW, 0),
}

# mount(8) gives a remount all options that are to be in force, and names none that is a default:
# of `remount,suid` is left that there is no nosuid. Times are kept when nothing is said of them.
_REMOUNTED = _RDONLY | _NOSUID | _NODEV | _NOEXEC | _NOSYMFOLLOW

# For mount(8), systemd and people: nothing that a file system could do.
_OTHERS = frozenset(
    [
        "defaults",
        "auto",
        "noauto",
        "user",
        "nouser",
        "users",
        "group",
        "nogroup",
        "owner",
        "noowner",
        "nofail",
        "_netdev",
        "async",
        "atime",
        "norelatime",
        "nostrictatime",
        "loud",
        "silent",
    ]
)
_OTHER_PREFIXES = ("x-", "X-", "comment=")
_OURS = ("filter=", "set=", "remount")

# What the kernel shows of a mount: mount(8) hands it back for a remount without a line in fstab.
_SHOWN = ("no_daemon", "root_bpf", "link_id", "creds", "dead")


@dataclass
class Options:
    """The options of one call; of one given twice the later counts, as mount(8) joins them so.

    `attributes` and `clear` are those of mount_setattr(2), `shown` what the kernel shows of a mount
    that is there.
    """

    filter: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    remount: bool = False
    clear: int = 0
    attributes: int = 0
    shown: dict[str, str] = field(default_factory=dict)


def parse_options(text: str, sloppy: bool = False) -> Options:
    """Understand the value of -o; `sloppy` lets unknown options pass. Raises UsageError."""
    options = Options()
    for option in filter(None, text.split(",")):
        key, equals, value = option.partition("=")
        if option in ATTRIBUTES:
            clear, attributes = ATTRIBUTES[option]
            options.clear = options.clear | clear | attributes
            options.attributes = options.attributes & ~clear | attributes
        elif option == "remount":
            options.remount = True
        elif key == "filter":
            if not value:
                raise UsageError("option filter= has no value", "e.g. filter=/etc/fusebpf/X.bpf.o")
            options.filter = value
        elif key == "set":
            name, _, setting = value.partition("=")
            if not name or not setting:
                raise UsageError(f"option {option} is no set=NAME=VALUE", "e.g. set=limit=20")
            options.settings[name] = setting
        elif option in _OTHERS or option.startswith(_OTHER_PREFIXES):
            continue
        elif key in _SHOWN:
            options.shown[key] = value
        elif not sloppy:
            near = closest(key + equals, [*ATTRIBUTES, *_OTHERS, *_OURS])
            raise UsageError(
                f"unknown mount option {option!r}",
                f"did you mean {near!r}?" if near else LISTED,
            )
    if options.remount:
        options.clear |= _REMOUNTED | (_NODIRATIME if options.clear & _ATIME else 0)
    return options
