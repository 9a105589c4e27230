# SPDX-License-Identifier: MIT
"""ACLs pass the filters of extended attributes, as system.posix_acl_access and _default."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm import hook_calls, hookkit
from tests.vm import kernelkit as kit
from tests.vm.kernel_twins import result_of

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
PAIRS = ("getxattr", "setxattr", "removexattr")


def acl(user: int, rights: int) -> bytes:
    """An ACL with one more user, as system calls have it (linux/posix_acl_xattr.h)."""
    entries = [
        (USER_OBJ, 6, 0xFFFFFFFF),
        (USER, rights, user),
        (GROUP_OBJ, 4, 0xFFFFFFFF),
        (MASK, 6, 0xFFFFFFFF),
        (OTHER, 0, 0xFFFFFFFF),
    ]
    return struct.pack("=I", 2) + b"".join(struct.pack("=HHI", *entry) for entry in entries)


ONE, TWO, THREE = acl(1001, 4), acl(1002, 6), acl(1003, 2)


@pytest.fixture(scope="module")
def attached() -> Iterator[hookkit.Hooks]:
    """The filters that ACLs pass, loaded once."""
    hooks = hookkit.Hooks(tuple(f"{op}_{phase}filter" for op in PAIRS for phase in ("pre", "post")))
    yield hooks
    hooks.close()


@pytest.fixture
def hooks(attached: hookkit.Hooks, lower: Path, mnt: Path) -> Iterator[hookkit.Hooks]:
    """A file with the ACL ONE, a directory with it and with the default ACL TWO."""
    (lower / "file").chmod(0o640)
    for name in ("file", "dir"):
        os.setxattr(lower / name, ACCESS, ONE)
    os.setxattr(lower / "dir", DEFAULT, TWO)
    with hookkit.mounted(attached, lower, mnt):
        yield attached


def get(path: Path, name: str = ACCESS) -> object:
    return result_of(lambda: os.getxattr(path, name))


def test_an_acl_is_an_attribute(hooks: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    """Filters see its name and its bytes."""
    for op in PAIRS:
        hooks.steer(f"{op}_prefilter", verdict=kit.POSTFILTER)
    assert get(mnt / "file") == ONE
    assert hooks.buffer("getxattr_prefilter", "name") == ACCESS.encode() + b"\0"
    assert hooks.buffer("getxattr_postfilter", "result") == ONE
    assert get(mnt / "dir", DEFAULT) == TWO
    assert hooks.buffer("getxattr_prefilter", "name") == DEFAULT.encode() + b"\0"
    os.setxattr(mnt / "file", ACCESS, TWO)
    assert hooks.buffer("setxattr_prefilter", "name") == ACCESS.encode() + b"\0"
    assert hooks.buffer("setxattr_prefilter", "value") == TWO
    assert hooks.buffer("setxattr_postfilter", "value") == TWO
    assert hooks.field("setxattr_prefilter", "setxattr_in.size") == len(TWO)
    assert get(lower / "file") == TWO
    os.removexattr(mnt / "dir", DEFAULT)
    assert hooks.buffer("removexattr_prefilter", "name") == DEFAULT.encode() + b"\0"
    assert hooks.look("removexattr_postfilter").count == 1
    assert get(lower / "dir", DEFAULT) == "ENODATA"


CALLS: dict[str, Callable[[Path], object]] = {
    "getxattr": lambda mnt: os.getxattr(mnt / "file", ACCESS),
    "setxattr": lambda mnt: os.setxattr(mnt / "file", ACCESS, TWO),
    "removexattr": lambda mnt: os.removexattr(mnt / "file", ACCESS),
}


@pytest.mark.parametrize("op", PAIRS)
def test_refused_before_and_after(hooks: hookkit.Hooks, lower: Path, mnt: Path, op: str) -> None:
    hooks.steer(f"{op}_prefilter", verdict=-errno.EDOM)
    assert result_of(lambda: CALLS[op](mnt)) == "EDOM"
    assert get(lower / "file") == ONE
    assert hooks.look(f"{op}_postfilter").count == 0
    hooks.steer(f"{op}_prefilter", verdict=kit.POSTFILTER)
    hooks.steer(f"{op}_postfilter", verdict=-errno.ELOOP)
    assert result_of(lambda: CALLS[op](mnt)) == "ELOOP"
    # What was done stays done
    done = {"getxattr": ONE, "setxattr": TWO, "removexattr": "ENODATA"}
    assert get(lower / "file") == done[op]


def test_a_prefilter_changes_which_acl(hooks: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    default = DEFAULT.encode() + b"\0"
    hooks.steer("getxattr_prefilter", name=default)
    assert get(mnt / "dir") == TWO
    hooks.steer("getxattr_prefilter", name=b"user.other\0")
    assert get(mnt / "dir") == "ENOTSUP"
    hooks.steer("setxattr_prefilter", name=default)
    os.setxattr(mnt / "dir", ACCESS, THREE)
    assert (get(lower / "dir"), get(lower / "dir", DEFAULT)) == (ONE, THREE)
    hooks.steer("removexattr_prefilter", name=default)
    os.removexattr(mnt / "dir", ACCESS)
    assert (get(lower / "dir"), get(lower / "dir", DEFAULT)) == (ONE, "ENODATA")


def test_a_prefilter_changes_what_is_set(hooks: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    hooks.steer("setxattr_prefilter", value=THREE)
    os.setxattr(mnt / "file", ACCESS, TWO)
    assert get(lower / "file") == THREE
    assert (lower / "file").stat().st_mode & 0o777 == 0o660
    hooks.steer("setxattr_prefilter", value=b"nonsense")
    assert result_of(lambda: os.setxattr(mnt / "file", ACCESS, TWO)) == "ENOTSUP"
    hooks.steer("setxattr_prefilter", setxattr_in__size=len(TWO) - 1)
    assert result_of(lambda: os.setxattr(mnt / "file", ACCESS, TWO)) == "EINVAL"
    assert get(lower / "file") == THREE


def test_a_postfilter_changes_what_is_shown(hooks: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    """Not who may do what: that is decided by the ACL below."""
    user = acl(hook_calls.NOBODY, 6)
    hooks.steer("getxattr_prefilter", verdict=kit.POSTFILTER)
    hooks.steer("getxattr_postfilter", result=user)
    assert get(mnt / "file") == user
    assert get(lower / "file") == ONE
    directory = os.open(mnt, os.O_PATH)
    path = Path(f"/proc/self/fd/{directory}/file")
    refused = result_of(lambda: hook_calls.as_nobody(lambda: bool(path.read_text())))
    os.setxattr(lower / "file", ACCESS, user)
    allowed = result_of(lambda: hook_calls.as_nobody(lambda: bool(path.read_text())))
    os.close(directory)
    assert (refused, allowed) == ("EACCES", True)
    hooks.steer("getxattr_postfilter", result=b"nonsense")
    assert get(mnt / "file") == "ENOTSUP"


def test_setting_can_be_called_done(hooks: hookkit.Hooks, lower: Path, mnt: Path) -> None:
    """Where it failed; to get one that is not there cannot be called success."""
    hooks.steer("setxattr_prefilter", verdict=kit.POSTFILTER, setxattr_in__size=3)
    hooks.steer("setxattr_postfilter", clear=True)
    os.setxattr(mnt / "file", ACCESS, TWO)
    assert hooks.look("setxattr_postfilter").error_in == -errno.EINVAL
    assert hooks.look("setxattr_postfilter").clear == 0
    assert get(lower / "file") == ONE
    hooks.steer("getxattr_prefilter", verdict=kit.POSTFILTER, name=b"user.other\0")
    hooks.steer("getxattr_postfilter", clear=True)
    assert get(mnt / "file") == "ENOTSUP"
    assert hooks.look("getxattr_postfilter").clear == -errno.EPERM
