# SPDX-License-Identifier: MIT
"""Find clang and run it so that the same input and tools give the same bytes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from fusebpf.build import cache
from fusebpf.build.errors import BuildError
from fusebpf.build.paths import cache_dir, share_dir
from fusebpf.build.symbols import drop_dead_externs
from fusebpf.frozen import dataclass

OLDEST_CLANG = 14
"""Below, `typeof` maps and the BPF v3 instruction set are not served together with `-g`."""

FLAGS = (
    "--no-default-config",
    "-target",
    "bpf",
    "-mcpu=v3",
    "-O2",
    "-g",
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    "-Wno-unused-function",
    "-fno-color-diagnostics",
    "-fdebug-compilation-dir=.",
    "-fno-ident",
    # A helper may have the name of a C library function.
    "-fno-builtin",
    # Long chains of elif and case nest.
    "-fbracket-depth=2048",
)

_MESSAGE = re.compile(
    r"^(?P<file>[^:\n]+):(?P<line>\d+):(?P<col>\d+): "
    r"(?P<kind>fatal error|error|warning): (?P<text>.*)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Clang:
    """A compiler: `path`, its version ("19.1.7"), and llvm-strip of the same LLVM or None."""

    path: str
    version: str
    strip: str | None


@dataclass(frozen=True)
class ClangMessage:
    """One message of clang. `file` and `line` follow #line: mostly the filter file's."""

    file: str
    line: int
    col: int
    kind: str
    text: str


class ClangError(BuildError):
    """clang refused C that we generated. `messages` are parsed, `output` is all it said."""

    def __init__(self, clang: Clang, output: str) -> None:
        self.messages = tuple(
            ClangMessage(m["file"], int(m["line"]), int(m["col"]), m["kind"], m["text"])
            for m in _MESSAGE.finditer(output)
        )
        first = next((m for m in self.messages if "error" in m.kind), None)
        where = f"{first.file}:{first.line}: {first.text}" if first else output.strip()
        super().__init__(
            f"{clang.path} {clang.version} refused the generated C: {where}",
            "this is a defect of fusebpf; `fusebpf compile --emit c` shows the C",
        )
        self.output = output


_looking: list[threading.Thread] = []


def look_for_clang() -> None:
    """Begin to do what `find_clang` does: a clang that is not known yet takes 30 ms to answer.

    What is wrong is for `find_clang` to say.
    """

    def look() -> None:
        with contextlib.suppress(BuildError, OSError):
            _find()

    _looking.append(threading.Thread(target=look, daemon=True))
    _looking[-1].start()


def find_clang() -> Clang:
    """The compiler to use: `$FUSEBPF_CLANG`, else the newest `clang` or `clang-NN` in PATH.

    Raises BuildError when there is none, or when it is too old or not clang.
    """
    while _looking:
        _looking.pop().join()
    return _find()


def _find() -> Clang:
    named = os.environ.get("FUSEBPF_CLANG")
    if named:
        path = shutil.which(named)
        if path is None:
            raise BuildError(
                f"FUSEBPF_CLANG={named} is not a program", "correct it, or unset FUSEBPF_CLANG"
            )
        return _described(path)
    return _newest(os.environ.get("PATH", os.defpath))


@functools.cache
def _newest(search: str) -> Clang:
    numbered: dict[int, str] = {}
    for directory in search.split(os.pathsep):
        try:
            entries = os.listdir(directory or ".")  # noqa: PTH208 (a name may be not UTF-8)
        except OSError:
            continue
        for entry in entries:
            if match := re.fullmatch(r"clang-(\d+)", entry):
                numbered.setdefault(int(match[1]), str(Path(directory, entry)))
    plain = shutil.which("clang", path=search)
    newest = max(numbered, default=0)
    if plain is None and not newest:
        raise BuildError("clang is not installed", "apt-get install clang-19 llvm-19")
    if plain is None:
        return _described(numbered[newest])
    found = _described(plain)
    return _described(numbered[newest]) if newest > int(found.version.split(".")[0]) else found


def _says(path: str) -> str:
    """What `--version` prints. Asked once of a program; a script may run another each time."""
    kept = None
    with contextlib.suppress(OSError), open(path, "rb") as file:  # noqa: PTH123
        if file.read(4) == b"\x7fELF":
            found = os.fstat(file.fileno())
            stamp = (path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            name = hashlib.sha256(repr(stamp).encode("utf-8", "surrogateescape")).hexdigest()
            kept = cache_dir() / "clang" / name
    known = None if kept is None else cache.read_own(kept)
    if known:
        return known.decode("utf-8", "replace")
    done = subprocess.run([path, "--version"], capture_output=True, check=False)
    if kept is not None and done.returncode == 0:
        with contextlib.suppress(OSError):  # what is not kept is asked again
            kept.parent.mkdir(parents=True, exist_ok=True)
            cache.write_atomically(kept, done.stdout)
            cache.trim(kept.parent)
    return done.stdout.decode("utf-8", "replace")


def _described(path: str) -> Clang:
    match = re.search(r"clang version (\d+)([.\d]*)", _says(path))
    help = "apt-get install clang-19 llvm-19"
    if os.environ.get("FUSEBPF_CLANG"):
        help = "name another in FUSEBPF_CLANG, or unset it"
    if match is None:
        raise BuildError(f"{path} is not clang", help)
    if int(match[1]) < OLDEST_CLANG:
        raise BuildError(
            f"{path} is clang {match[1]}; at least {OLDEST_CLANG} is needed",
            help,
        )
    beside = Path(path).resolve().parent / "llvm-strip"
    strip = str(beside) if beside.exists() else shutil.which(f"llvm-strip-{match[1]}")
    return Clang(path, match[1] + match[2], strip)


@functools.cache
def headers_digest() -> str:
    """Digest of every header that generated code can include."""
    digest = hashlib.sha256()
    for header in sorted(share_dir("bpf").glob("*.h")):
        digest.update(f"{header.name}\0".encode() + header.read_bytes() + b"\0")
    return digest.hexdigest()


def compile_c(clang: Clang, c_source: str, source_dir: Path, defines: Iterable[str] = ()) -> bytes:
    """Compile to a BPF object without DWARF (BTF and line information stay).

    `source_dir` is where the file that `#line` names lies: clang copies its text into the line
    information. Raises ClangError, or BuildError when clang does not run.
    """
    headers = share_dir("bpf")
    if not (headers / "fusebpf.h").exists():
        raise BuildError(f"{headers / 'fusebpf.h'} is missing", "install fusebpf again")
    # CPATH and its kind would change what is included; a locale the messages.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    with tempfile.TemporaryDirectory(prefix="fusebpf-") as scratch:
        # Not from stdin: its includes would be sought in the directory of the filter file first.
        main = Path(scratch, "filters.bpf.c")
        main.write_bytes(c_source.encode("utf-8", "surrogateescape"))
        target = Path(scratch, "filters.bpf.o")
        command = [
            clang.path,
            *FLAGS,
            f"-ffile-prefix-map={headers}=bpf",
            f"-ffile-prefix-map={scratch}=.",
            f"-I{headers}",
            *(f"-D{name}" for name in defines),
            *("-c", str(main), "-o", str(target)),
        ]
        done = subprocess.run(
            command,
            cwd=source_dir,
            env={**environment, "TMPDIR": scratch},
            capture_output=True,
            check=False,
        )
        output = done.stderr.decode("utf-8", "replace")
        if done.returncode != 0:
            raise ClangError(clang, output)
        if clang.strip is not None:
            stripped = subprocess.run(
                [clang.strip, "-g", str(target)],
                env=environment,
                capture_output=True,
                check=False,
                text=True,
            )
            if stripped.returncode != 0:
                raise BuildError(f"{clang.strip} failed: {stripped.stderr.strip()}")
        return drop_dead_externs(target.read_bytes())
