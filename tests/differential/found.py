# SPDX-License-Identifier: MIT
"""Scripts in which a mount once differed from the directory below."""

from __future__ import annotations

import os

from tests.differential.script import BELOW, Path, Script, Slot, Step

_FILE = Path(-1, "f")
_CREATE = Step("create_exclusive", 0, (_FILE, 0o666, Slot(2)))

FOUND: dict[str, Script] = {
    "a change of mode keeps the kind of file": [
        Step("mkdir", 0, (_FILE, 0o755)),
        Step("chmod", 0, (_FILE, 0o711)),
        Step("rmdir", 0, (_FILE,)),
    ],
    "O_NOATIME by F_SETFL is for the lower file too": [
        _CREATE,
        Step("set_flags", 0, (Slot(2), os.O_NOATIME)),
        Step("futimens", 0, (Slot(2), 123456789, 577498480)),
        Step("pread", 1000, (Slot(2), 12288, 0)),
    ],
    "O_DIRECT by F_SETFL is for copy_file_range too": [
        _CREATE,
        Step("create_exclusive", 0, (Path(-1, "g"), 0o666, Slot(3))),
        Step("pwrite", 0, (Slot(2), 3, 15000, 0)),
        Step("set_flags", 0, (Slot(3), os.O_DIRECT)),
        Step("copy_file_range", 0, (Slot(2), 8193, Slot(3), 4096, 7)),
    ],
    "O_APPEND taken away by F_SETFL is for FICLONE too": [
        _CREATE,
        Step("pwrite", 0, (Slot(2), 3, 4096, 0)),
        Step("open", 0, (Path(-1, "g"), os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o666, Slot(3))),
        Step("set_flags", 0, (Slot(3), 0)),
        Step("clone", 0, (Slot(2), Slot(3))),
    ],
    "set-id bits stay when fallocate is not supported": [
        Step("umask", 0, (0,)),
        Step("chmod", 0, (Path(-1, "."), 0o777)),
        Step("open", 1000, (_FILE, os.O_CREAT | os.O_WRONLY, 0o6777, Slot(2))),
        Step("fallocate", 1001, (Slot(2), 0x10, 3460, 12288)),
    ],
    "set-id bits go when fallocate changed the file": [
        Step("umask", 0, (0,)),
        Step("chmod", 0, (Path(-1, "."), 0o777)),
        Step("open", 1000, (_FILE, os.O_CREAT | os.O_RDWR, 0o6777, Slot(2))),
        Step("fallocate", 1001, (Slot(2), 0, 0, 4096)),
    ],
    "a program that is being written below does not run": [
        Step("plant_program", 0, (_FILE, 0o755)),
        Step("open", BELOW, (_FILE, os.O_WRONLY, 0, Slot(2))),
        Step("execute", 0, (_FILE,)),
        Step("close", BELOW, (Slot(2),)),
        Step("execute", 0, (_FILE,)),
    ],
}
