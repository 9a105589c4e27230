#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Build the module fusebpf.ko for the kernel of a Debian root directory.

The module is the kernel's own fs/fuse (from its linux-source package, which must have exactly the
version of the kernel package) with the patches of ``series/SERIES/patches`` and the files of
``src`` and ``series/SERIES/src``, compiled with the root's compiler against its headers. Results
are cached by the hash of all inputs.

    kernel/build.py module --root ROOT [--kver KVER] [--cache DIR] [--output FILE]
                                          prints the path of the module
    kernel/build.py checkpatch --root ROOT                             kernel style of src/
    kernel/build.py sparse --root ROOT                                 sparse on src/
    kernel/build.py unset --root ROOT                                  FUSE without CONFIG_FUSE_BPF

Needs root for a ROOT other than / (chroot and a private mount namespace). Progress and errors go to
stderr. Exit status 0, 1 on failure, 2 on wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from support import (
    SERIES,
    BuildError,
    Root,
    check_packages,
    find_kver,
    package_versions,
    to_install,
)

HERE = Path(__file__).resolve().parent
# checkpatch and the word lists that it reads beside itself
CHECKPATCH = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch")
# The macro of bpf_stubs.h is a whole function, return and all; nothing jumps out of its caller
CHECKPATCH_IGNORE = ("MACRO_WITH_FLOW_CONTROL",)
BUILD_TIMEOUT_S = 900


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def patches_of(series: str, form: str) -> list[Path]:
    """The patches of a form, "module" or "tree", in their order: first what both need."""
    patches = HERE / "series" / series / "patches"
    return [p for d in ("both", form) for p in sorted((patches / d).glob("*.patch"))]


def sources_of(series: str) -> list[Path]:
    """Our own files: those for all series, and those that each has in a form of its own."""
    places = (HERE / "src", HERE / "series" / series / "src")
    return [p for place in places for p in sorted(place.iterdir()) if p.is_file()]


def own_files(series: str, form: str) -> list[Path]:
    return [*patches_of(series, form), *sources_of(series)]


def input_hash(root: Root, texts: list[str], files: list[Path]) -> str:
    """A hash of everything that a result is made of."""
    digest = hashlib.sha256()
    for text in (root.kver, *texts):
        digest.update(text.encode() + b"\0")
    for path in (*sorted(HERE.glob("*.py")), *files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def clean_before(base: Path, what: str, inputs: str) -> bool:
    """Whether a check has found the same inputs clean; ``note_clean`` says so of it."""
    found = (base / "clean" / f"{what}-{inputs}").is_file()
    if found:
        say(f"{what}: clean, as before")
    return found


def note_clean(base: Path, what: str, inputs: str) -> None:
    (base / "clean").mkdir(parents=True, exist_ok=True)
    (base / "clean" / f"{what}-{inputs}").touch()


_held: list[int] = []
"""Descriptors of locks."""


def run(command: list[str], what: str) -> None:
    """Run a command with its output on stderr; raise BuildError with its tail when it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=BUILD_TIMEOUT_S,
            pass_fds=_held,
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildError(f"{what}: {command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{what}: no end after {BUILD_TIMEOUT_S} s") from error
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        tail = "\n".join(text.splitlines()[-60:])
        raise BuildError(f"{what} failed with status {done.returncode}:\n{tail}")
    for line in text.splitlines():
        if "warning:" in line or "WARNING:" in line:
            say(line)


def extract(root: Root, versions: dict[str, str], work: Path) -> Path:
    """Unpack fs/fuse and checkpatch of the source package once; return the tree's top."""
    top = work / f"source-{versions[root.source]}"
    if top.is_dir():
        return top
    tarball = root.inside(f"/usr/src/{root.source}.tar.xz")
    if not tarball.is_file():
        raise BuildError(
            f"{tarball} is missing; {to_install(root.path, '--reinstall', root.source)}"
        )
    say(f"fusebpf module: unpacking fs/fuse from {tarball.name}")
    scratch = work / f"unpack.{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    members = ["fs/fuse", *(f"scripts/{name}" for name in CHECKPATCH)]
    run(
        ["tar", "-xJf", str(tarball), "-C", str(scratch)]
        + [f"{root.source}/{name}" for name in members],
        "unpacking the kernel source",
    )
    (scratch / root.source).rename(top)
    scratch.rmdir()
    return top


def update_file(path: Path, data: bytes) -> None:
    """Write a file only when it changes, so that make sees what really did."""
    if not path.is_file() or path.read_bytes() != data:
        path.write_bytes(data)


def add_ours(fresh: Path, series: str, form: str) -> None:
    """Apply the patches of a form, without fuzz, to a tree and add our files."""
    for patch in patches_of(series, form):
        command = ["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch", "-s", "-d", str(fresh)]
        try:
            run([*command, "-r", "-", "-i", str(patch)], f"applying {patch.name}")
        except BuildError as error:
            raise BuildError(
                f"{error}\nthis kernel changed what the patch touches: it is not supported until"
                " the patch is brought up to date"
            ) from None
    for path in sources_of(series):
        shutil.copy(path, fresh / "fs/fuse")


def assemble(top: Path, tree: Path, series: str, form: str = "module") -> None:
    """Bring the build directory up to date: stock files, patches without fuzz, own files."""
    fresh = tree.with_name(tree.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "fs").mkdir(parents=True)
    shutil.copytree(top / "fs/fuse", fresh / "fs/fuse")
    add_ours(fresh, series, form)
    # Kbuild is the module's, and would take the place of Makefile
    (fresh / "fs/fuse" / ("Makefile" if form == "module" else "Kbuild")).unlink()

    tree.mkdir(parents=True, exist_ok=True)
    wanted = {p.name: p.read_bytes() for p in (fresh / "fs/fuse").iterdir() if p.is_file()}
    for path in tree.iterdir():
        stale = path.suffix in (".c", ".h") and path.name not in wanted
        if stale and not path.name.endswith(".mod.c"):  # that one is made by the build
            path.unlink()
    for name, data in wanted.items():
        update_file(tree / name, data)
    shutil.rmtree(fresh)


def make_command(root: Root, tree: Path, *arguments: str) -> list[str]:
    """The make call, inside of the root with the build directory on /mnt unless ROOT is /.

    A distilled base (pahole >= 1.28) is switched off: BTF ids that the module itself keeps are not
    relocated, and the module is for one kernel anyway.
    """
    jobs = f"-j{os.cpu_count() or 1}"
    native = root.path == Path("/")
    place = str(tree) if native else "/mnt"
    make = ["make", "-C", root.headers, f"M={place}", "MODULE_PAHOLE_FLAGS=", jobs, *arguments]
    if native:
        return make
    if os.geteuid() != 0:
        raise BuildError(f"building inside of {root.path} needs root (chroot)")
    # objtool of newer series looks into /proc
    script = (
        'mount --bind "$1" "$2/mnt" && mount -t proc proc "$2/proc" && root=$2 && shift 2'
        ' && exec chroot "$root" "$@"'
    )
    inner = ["sh", "-c", script, "sh", str(tree), str(root.path)]
    env = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]
    return ["unshare", "--mount", "--propagation", "private", *inner, *env, *make]


@contextlib.contextmanager
def locked(work: Path) -> Iterator[None]:
    """One build at a time in a work directory; what it runs holds the lock, too, should we end."""
    with _take(work) as lock:
        _held.append(lock.fileno())
        try:
            yield
        finally:
            _held.remove(lock.fileno())


def _take(work: Path) -> IO[str]:
    while True:
        work.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            lock = (work / "lock").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
            # `vm gc` may have removed the directory while this waited.
            if os.path.samestat(os.fstat(lock.fileno()), (work / "lock").stat()):
                return lock


def install(built: Path, target: Path) -> None:
    """Put the module without DWARF (BTF stays) in the cache, in one step."""
    partial = target.parent.with_name(target.parent.name + f".{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    run(["objcopy", "-g", str(built), str(partial / target.name)], "stripping the module")
    sections = subprocess.run(
        ["objdump", "-h", str(partial / target.name)], stdout=subprocess.PIPE, check=True
    ).stdout
    if b" .BTF " not in sections:
        raise BuildError(
            "the module was built without BTF: the headers package has no vmlinux, or pahole failed"
        )
    try:
        partial.rename(target.parent)
    except OSError:  # another build was faster
        shutil.rmtree(partial)


def cache_dir(arguments: argparse.Namespace) -> Path:
    """The cache, by the rule of fusebpf/build/paths.py; absolute, for make runs elsewhere."""
    if named := arguments.cache or os.environ.get("FUSEBPF_CACHE"):
        return Path(named).resolve()
    # The XDG specification says to ignore a relative path.
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        parent = Path(base) if base.startswith("/") else Path.home() / ".cache"
    except RuntimeError:  # no HOME, and a user that passwd does not have
        raise BuildError(
            "there is no home directory to keep a cache in; set FUSEBPF_CACHE to a directory that"
            " you may write"
        ) from None
    return (parent / "fusebpf").resolve()


def prepare(arguments: argparse.Namespace) -> tuple[Root, dict[str, str], list[str], Path]:
    path = Path(arguments.root).resolve()
    cache = cache_dir(arguments)
    if path == Path("/") and re.search(r"[\s:#$]", str(cache)):
        raise BuildError(
            f"make cannot build in {str(cache)!r}: its path has a blank, ':', '#' or '$'; set"
            " FUSEBPF_CACHE to another directory"
        )
    root = Root(path, find_kver(path, arguments.kver))
    versions = package_versions(path)
    packages = check_packages(root, versions)
    return root, versions, packages, cache / "module" / root.kver


def command_module(arguments: argparse.Namespace) -> None:
    root, versions, packages, base = prepare(arguments)
    target = base / input_hash(root, packages, own_files(root.series, "module")) / "fusebpf.ko"
    if not target.is_file():
        if arguments.where:
            raise BuildError(f"there is no {target}")
        work = base / "work"
        with locked(work):
            top = extract(root, versions, work)
            tree = work / "tree"
            assemble(top, tree, root.series)
            say(f"fusebpf module: building for {root.kver}")
            run(make_command(root, tree, "modules"), "building the module")
            install(tree / "fusebpf.ko", target)
    if arguments.output:
        shutil.copy(target, arguments.output)
    print(target)


def command_checkpatch(arguments: argparse.Namespace) -> None:
    root, versions, packages, base = prepare(arguments)
    ours = {path for series in SERIES for path in sources_of(series)}
    files = sorted(p for p in ours if p.suffix in (".c", ".h"))
    inputs = input_hash(root, packages, files)
    if clean_before(base, "checkpatch --strict", inputs):
        return
    work = base / "work"
    with locked(work):
        top = extract(root, versions, work)
    command = ["perl", str(top / "scripts/checkpatch.pl"), "--no-tree", "--strict", "--terse"]
    command += ["--show-types", "--no-summary", "--ignore", ",".join(CHECKPATCH_IGNORE)]
    command += ["-f", *map(str, files)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode or done.stdout.strip():
        raise BuildError("checkpatch:\n" + done.stdout.decode(errors="replace"))
    note_clean(base, "checkpatch --strict", inputs)
    say(f"checkpatch --strict: {len(files)} files clean")


def command_sparse(arguments: argparse.Namespace) -> None:
    root, versions, packages, base = prepare(arguments)
    sparse = shutil.which("sparse")
    if sparse is None:
        raise BuildError("sparse is not installed; run: apt-get install sparse")
    version = subprocess.run([sparse, "--version"], stdout=subprocess.PIPE, text=True, check=True)
    inputs = input_hash(root, [*packages, version.stdout], own_files(root.series, "module"))
    if clean_before(base, "sparse", inputs):
        return
    work = base / "work"
    with locked(work):
        top = extract(root, versions, work)
        tree = work / "sparse"
        assemble(top, tree, root.series)
        shutil.copy2(sparse, tree / "sparse")
        ours = sources_of(root.series)
        for path in ours:
            (tree / path.with_suffix(".o").name).unlink(missing_ok=True)
        place = str(tree) if root.path == Path("/") else "/mnt"
        say(f"fusebpf module: sparse for {root.kver}")
        command = make_command(root, tree, "C=1", f"CHECK={place}/sparse", "modules")
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        raise BuildError("sparse build failed:\n" + "\n".join(text.splitlines()[-40:]))
    # Reports on stock files and headers are not ours to answer
    names = {path.name for path in ours}
    found = [
        line
        for line in text.splitlines()
        if line.split(":", 1)[0].rsplit("/", 1)[-1] in names
        and (" warning: " in line or " error: " in line)
    ]
    if found:
        raise BuildError("sparse:\n" + "\n".join(found))
    note_clean(base, "sparse", inputs)
    say(f"sparse: {sum(path.suffix == '.c' for path in ours)} files clean")


# The kernel has FUSE built in. It is compiled, not linked: it uses what modules cannot.
_AS_A_MODULE = ("CONFIG_FUSE_FS=m", "CONFIG_CUSE=", "CONFIG_VIRTIO_FS=", "KCFLAGS=-Werror")


def command_unset(arguments: argparse.Namespace) -> None:
    """Compile FUSE as a kernel has it that takes our patches and leaves CONFIG_FUSE_BPF out.

    Its functions must be those of FUSE without the patches.
    """
    root, versions, packages, base = prepare(arguments)
    inputs = input_hash(root, packages, own_files(root.series, "unset"))
    if clean_before(base, "unset", inputs):
        return
    work = base / "work"
    functions = {}
    with locked(work):
        top = extract(root, versions, work)
        trees = {"the patches": work / "unset", "stock FUSE": work / "stock"}
        assemble(top, trees["the patches"], root.series, "unset")
        shutil.copytree(top / "fs/fuse", trees["stock FUSE"], dirs_exist_ok=True)
        for name, tree in trees.items():
            say(f"fusebpf module: {name} without CONFIG_FUSE_BPF for {root.kver}")
            run(make_command(root, tree, *_AS_A_MODULE, "fuse.o"), f"building {name}")
            functions[name] = functions_of(tree / "fuse.o")
    if len(set(map(frozenset, functions.values()))) != 1:
        ours, theirs = (functions[name] for name in trees)
        raise BuildError(f"without CONFIG_FUSE_BPF functions differ: {sorted(ours ^ theirs)}")
    note_clean(base, "unset", inputs)
    say(f"unset: {len(functions['stock FUSE'])} functions, as in stock FUSE")


def functions_of(compiled: Path) -> set[str]:
    """Return the functions of an object, but for the parts that the compiler makes of one."""
    listed = subprocess.run(["nm", str(compiled)], stdout=subprocess.PIPE, text=True, check=True)
    fields = [line.split() for line in listed.stdout.splitlines()]
    names = {line[2].split(".")[0] for line in fields if line[1:2] and line[1] in "tTwW"}
    return {name for name in names if not name.startswith("__pfx_")}


COMMANDS = {
    "module": command_module,
    "checkpatch": command_checkpatch,
    "sparse": command_sparse,
    "unset": command_unset,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Build and check fusebpf.ko.")
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("--root", required=True, help="Debian root directory; / for this machine")
    parser.add_argument("--kver", help="kernel version; default: the only one in ROOT")
    parser.add_argument("--output", help="of module: where to copy it, too")
    parser.add_argument("--where", action="store_true", help="of module: build nothing")
    parser.add_argument("--cache", help="default: $FUSEBPF_CACHE or ~/.cache/fusebpf")
    arguments = parser.parse_args()
    try:
        COMMANDS[arguments.command](arguments)
    except BuildError as error:
        say(f"kernel/build.py: error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
