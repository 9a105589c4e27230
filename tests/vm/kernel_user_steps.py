# SPDX-License-Identifier: MIT
"""Steps of test_kernel_ops.py that an ordinary user takes; prints what each gave."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def do(name: str, call: Callable[[], object]) -> None:
    try:
        result: object = call()
    except OSError as error:
        result = errno.errorcode[error.errno or 0]
    print(name, result)


def main() -> None:
    os.chdir(sys.argv[1])
    b = Path(".")
    os.umask(0o027)
    do("list shut", lambda: os.listdir(b / "shut"))
    do("stat in shut", lambda: os.stat(b / "shut/none"))
    do("create in shut", lambda: (b / "shut/new").write_text("x"))
    do("create in root", lambda: (b / "new").write_text("x"))
    do("create", lambda: (b / "open/mine").write_text("x"))
    do("owner", lambda: (os.stat(b / "open/mine").st_uid, os.stat(b / "open/mine").st_gid))
    do("mode", lambda: oct(os.stat(b / "open/mine").st_mode))
    do("mkdir", lambda: (b / "shared/dir").mkdir())
    do("group of dir", lambda: os.stat(b / "shared/dir").st_gid)
    do("mode of dir", lambda: oct(os.stat(b / "shared/dir").st_mode))
    do("create setgid", lambda: os.open(b / "shared/sg", os.O_CREAT | os.O_RDWR, 0o2775))
    do("mode setgid", lambda: oct(os.stat(b / "shared/sg").st_mode))
    do("group setgid", lambda: os.stat(b / "shared/sg").st_gid)
    do(
        "read-only create",
        lambda: os.write(os.open(b / "open/ro", os.O_CREAT | os.O_RDWR, 0o444), b"x"),
    )
    do("open it rw", lambda: os.open(b / "open/ro", os.O_RDWR))
    do("read roots", lambda: (b / "open/roots").read_text())
    do("write readable", lambda: (b / "open/readable").write_text("y"))
    do("trunc readable", lambda: os.truncate(b / "open/readable", 0))
    do("chmod readable", lambda: (b / "open/readable").chmod(0o777))
    do("chown mine", lambda: os.chown(b / "open/mine", 1001, -1))
    do("chgrp mine", lambda: os.chown(b / "open/mine", -1, 3000))
    do("chgrp foreign", lambda: os.chown(b / "open/mine", -1, 2000))
    do("utime roots", lambda: os.utime(b / "open/readable", (1, 1)))
    do("utime mine", lambda: os.utime(b / "open/mine", (1, 1)))
    do("setxattr readable", lambda: os.setxattr(b / "open/readable", "user.x", b"1"))
    do("setxattr mine", lambda: os.setxattr(b / "open/mine", "user.x", b"1"))
    do("trusted", lambda: os.setxattr(b / "open/mine", "trusted.x", b"1"))
    do("list xattrs", lambda: os.listxattr(b / "open/mine"))
    do(
        "acl mine",
        lambda: (
            subprocess.run(["setfacl", "-m", "u:1009:r", b / "open/mine"], check=False).returncode
        ),
    )
    do(
        "acl readable",
        lambda: (
            subprocess.run(
                ["setfacl", "-m", "u:1009:r", b / "open/readable"],
                check=False,
                stderr=subprocess.DEVNULL,
            ).returncode
        ),
    )
    do("unlink sticky", lambda: os.unlink(b / "sticky/roots"))
    do("rename sticky", lambda: os.rename(b / "sticky/roots", b / "sticky/other"))
    do("create sticky", lambda: (b / "sticky/mine").write_text("x"))
    do("unlink own sticky", lambda: os.unlink(b / "sticky/mine"))
    do("unlink roots in open", lambda: os.unlink(b / "open/roots"))
    do("exec execonly", lambda: subprocess.run([b / "open/execonly"], check=False).returncode)
    do("read execonly", lambda: (b / "open/execonly").read_bytes())
    do("write suid", lambda: (b / "open/suid").write_text("z"))
    do("mode of suid", lambda: oct(os.stat(b / "open/suid").st_mode))
    do("mknod device", lambda: os.mknod(b / "open/null", 0o20666, os.makedev(1, 3)))
    do("link roots", lambda: os.link(b / "open/readable", b / "open/linked"))
    do("setgid own file of another group", lambda: (b / "shared/sg").chmod(0o2770))
    do("mode then", lambda: oct(os.stat(b / "shared/sg").st_mode))
    do("o_noatime of another", lambda: os.open(b / "open/readable", os.O_NOATIME))

    print("ok")


main()
