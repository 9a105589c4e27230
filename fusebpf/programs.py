# SPDX-License-Identifier: MIT
"""Programs of this machine."""

from __future__ import annotations

import os


def find(name: str) -> str | None:
    """The path of a program, also of one for administrators: PATH of others has no sbin."""
    import shutil

    search = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    return shutil.which(name, path=search)
