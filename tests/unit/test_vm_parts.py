# SPDX-License-Identifier: MIT
"""The parts of the VM runner that need no boot."""

from __future__ import annotations

import fcntl
import gzip
import json
import lzma
import os
import shutil
import stat
import struct
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from fusebpf.vm import builder, cache, debootstrap, kernel, mirror, module, root
from fusebpf.vm.bzimage import image_release, unpack_image
from fusebpf.vm.console import MARK, Console
from fusebpf.vm.errors import PrepareError
from fusebpf.vm.initramfs import BOOT_MODULES, Archive, module_files
from fusebpf.vm.isolate import run_isolated
from fusebpf.vm.kernel import BootFiles, KernelSource, find_kernel
from fusebpf.vm.kernelroot import KernelPackages, kernel_root_name
from fusebpf.vm.launch import Request, repeating
from fusebpf.vm.machine import Export, MachineSpec, command_line
from fusebpf.vm.shares import Share, package_shares, plan
from tests.unit.ordinary import as_nobody

TREE = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUSEBPF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# isolated commands


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root")


@needs_root
def test_isolated_command_gives_output_and_status(tmp_path: Path) -> None:
    lines: list[str] = []
    script = f"mount -t tmpfs none {tmp_path}; touch {tmp_path}/x; echo one; echo two >&2; exit 3"
    assert run_isolated(["sh", "-c", script], os.environ, lines.append) == 3
    assert lines == ["one\n", "two\n"]
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_isolated_command_is_ended_with_everything_it_started(tmp_path: Path) -> None:
    seconds = f"{1000 + os.getpid()}.25"
    script = (
        f"mount -t tmpfs none {tmp_path}; setsid sleep {seconds} & trap '' TERM INT;"
        f"echo ready; sleep {seconds}"
    )

    def stop(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt, match="ready"):
        run_isolated(["sh", "-c", script], os.environ, stop)
    found = subprocess.run(["pgrep", "-f", f"sleep {seconds}"], capture_output=True, check=False)
    assert found.stdout == b""
    assert not any(place.is_relative_to(tmp_path) for place in cache._mounts())


@needs_root
def test_what_an_isolated_command_makes_is_for_all_to_read(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run_isolated(["mkdir", str(tmp_path / "made")], os.environ, lambda line: None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o755


# guest root


def test_requirements_are_those_of_the_package() -> None:
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    declared = {*project["dependencies"], *project["optional-dependencies"]["dev"]}
    assert set(root.REQUIREMENTS) <= declared
    assert set(project["dependencies"]) <= set(root.REQUIREMENTS)


def test_a_root_can_be_entered_by_all_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("needs root and apt")
    (tmp_path / "dists/none").mkdir(parents=True)
    (tmp_path / "dists/none/InRelease").write_text("Codename: none\n")
    monkeypatch.setenv("FUSEBPF_MIRROR", f"file://{tmp_path}")
    (tmp_path / "mmdebstrap").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    recipe = debootstrap.Recipe("root", "root-x", "none", (), 0, "true")
    before = os.umask(0o077)
    try:
        made = cache.entry("root-x", lambda work: debootstrap.make(recipe, work, print))
    finally:
        os.umask(before)
    assert stat.S_IMODE(made.stat().st_mode) == 0o755


def test_another_machine_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debootstrap, "MACHINE", "a guest's")
    with pytest.raises(PrepareError, match=f"is of amd64.* is {os.uname().machine}"):
        root.prepare_root(lambda line: None)


def test_root_needs_root_and_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(PrepareError, match="only be made by root"):
        root.prepare_root(lambda line: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    usage = shutil.disk_usage("/")._replace(free=1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(PrepareError, match=r"1\.0 GB free"):
        root.prepare_root(lambda line: None)


def test_the_tree_and_what_is_fetched_may_lie_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "a 'tree' $x/customize.sh"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/told\n')
    script.chmod(0o755)
    monkeypatch.setattr(root, "_CUSTOMIZE", script)
    # As mmdebstrap runs it
    hook = root._hook(Path("/tmp/it's here"))
    subprocess.run(["sh", "-c", hook, "exec", "/the root"], check=True)
    assert (tmp_path / "told").read_text() == "/the root\n/tmp/it's here\n"


@needs_root
def test_an_ordinary_user_is_told_who_can(tmp_path: Path) -> None:
    done = as_nobody(tmp_path, "vm", "run", "true")
    assert done.returncode == 125
    assert "run `make vm`, and what uses it, as root" in done.stderr
    found = as_nobody(tmp_path, "doctor", "--for", "vm", "--json")
    (guest,) = (entry for entry in json.loads(found.stdout) if entry["name"] == "guest")
    assert (found.returncode, guest["state"]) == (1, "missing")
    assert "run `fusebpf vm` as root" in guest["mend"]
    # A cache that root has filled
    for name in ("locks", root.root_name()):
        (tmp_path / "theirs" / name).mkdir(exist_ok=True)
        os.chown(tmp_path / "theirs" / name, 0, 0)
    done = as_nobody(tmp_path, "vm", "run", "true")
    assert done.returncode == 125
    assert "is another user's: you may not write there" in done.stderr
    assert "set FUSEBPF_CACHE to a directory of your own" in done.stderr


def test_kernel_root_needs_root_and_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(PrepareError) as caught:
        kernel.kernel_root("debian12", Path("/guest"), lambda line: None)
    assert str(caught.value).startswith("the kernel root debian12 can only be made by root")
    assert "run `fusebpf vm prepare --kernel debian12`, and what uses it, as root" in str(
        caught.value.help
    )
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    usage = shutil.disk_usage("/")._replace(free=1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(PrepareError, match=r"kernel root debian12 needs 2 GB .* has 1\.0 GB free"):
        kernel.kernel_root("debian12", Path("/guest"), lambda line: None)


def test_kernel_root_is_named_by_its_recipe() -> None:
    one = KernelPackages("Debian 12", "bookworm", ("linux-image-6.12-amd64",))
    other = replace(one, packages=("linux-image-6.12-cloud-amd64",))
    names = {kernel_root_name("debian12", one), kernel_root_name("debian12", other)}
    assert len(names) == 2
    assert kernel_root_name("debian12", replace(one, title="Debian twelve")) in names
    assert kernel_root_name("debian12", replace(one, backports="bookworm-backports")) not in names


def test_stock_kernel_is_in_the_guest_root() -> None:
    assert kernel.kernel_root("stock", Path("/guest"), lambda line: None) == Path("/guest")
    assert kernel.kernel_root("/boot/vmlinuz", Path("/guest"), lambda line: None) == Path("/guest")


def test_mirror_comes_from_the_environment_and_must_carry_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("no apt here")
    (tmp_path / "dists/trixie").mkdir(parents=True)
    (tmp_path / "dists/trixie/InRelease").write_text("Codename: trixie\n")
    monkeypatch.setenv("FUSEBPF_MIRROR", f"file://{tmp_path}")
    # apt-helper follows file: by a copy or a link; either way the suite is there.
    assert mirror.sources("trixie") == [f"deb [arch=amd64] file://{tmp_path} trixie main"]
    with pytest.raises(PrepareError, match="does not answer for sid"):
        mirror.sources("sid")


def test_a_mirror_may_stand_in_a_list_and_have_security_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Debian's cloud images, of which not each has a line for security."""
    if shutil.which("apt-get") is None:
        pytest.skip("no apt here")
    for place, suite in (("debian", "trixie"), ("debian-security", "trixie-security")):
        (tmp_path / place / "dists" / suite).mkdir(parents=True)
        (tmp_path / place / "dists" / suite / "InRelease").write_text("Codename: trixie\n")
    (tmp_path / "mirrors.list").write_text(f"# of here\nfile://{tmp_path}/debian\tpriority:1\n")

    def listed(uri: str) -> None:
        (tmp_path / "apt-get").write_text(f"#!/bin/sh\necho '{uri}'\n")
        (tmp_path / "apt-get").chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("FUSEBPF_MIRROR", raising=False)
    listed(f"mirror+file:{tmp_path}/mirrors.list/")
    assert mirror.sources("trixie") == [
        f"deb [arch=amd64] file://{tmp_path}/debian trixie main",
        f"deb [arch=amd64] file://{tmp_path}/debian-security trixie-security main",
    ]
    listed("")
    with pytest.raises(PrepareError) as caught:
        mirror.sources("trixie")
    assert "apt-get update" in str(caught.value.help)


# kernel images


def bzimage(payload: bytes, release: str = "6.12.1-test") -> bytes:
    """Build a bzImage with the header fields the runner reads."""
    data = bytearray(512 * 5)
    data[0x1F1] = 4
    data[0x202:0x206] = b"HdrS"
    text = f"{release} (someone@somewhere) #1\0".encode()
    data[0x300 : 0x300 + len(text)] = text
    struct.pack_into("<H", data, 0x20E, 0x100)
    struct.pack_into("<II", data, 0x248, 64, len(payload))
    return bytes(data) + b"\0" * 64 + payload


def zstd(data: bytes) -> bytes:
    packed = subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout
    return packed + struct.pack("<I", len(data))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd])
def test_payload_is_unpacked(pack: object) -> None:
    kernel = b"\x7fELF" + bytes(range(256)) * 50
    assert callable(pack)
    image = bzimage(pack(kernel))
    assert unpack_image(image, Path("vmlinuz")) == kernel
    assert image_release(image, Path("vmlinuz")) == "6.12.1-test"


def test_elf_kernel_is_taken_as_it_is() -> None:
    kernel = b"\x7fELF....Linux version 6.12.9 (x@y)"
    assert unpack_image(kernel, Path("vmlinux")) == kernel
    assert image_release(kernel, Path("vmlinux")) == "6.12.9"


def test_what_is_no_kernel_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    with pytest.raises(PrepareError, match="is no kernel image"):
        find_kernel(str(text), tmp_path, print)
    with pytest.raises(PrepareError, match="no kernel 'nonsense'") as caught:
        find_kernel("nonsense", tmp_path, print)
    assert "stock" in str(caught.value.help)
    with pytest.raises(PrepareError, match="unknown way"):
        unpack_image(bzimage(b"nothing at all"), text)


def test_kernel_of_a_root_comes_with_its_modules(tmp_path: Path) -> None:
    with pytest.raises(PrepareError) as caught:
        find_kernel("debian12", tmp_path, print)
    assert caught.value.help == f"remove {tmp_path} and run `fusebpf vm prepare --kernel debian12`"
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.12.1-test-amd64").write_bytes(bzimage(b"", "6.12.1-test-amd64"))
    found = find_kernel("debian12", tmp_path, print)
    assert found.release == "6.12.1-test-amd64"
    assert found.modules == tmp_path / "lib/modules/6.12.1-test-amd64"
    assert found.root == tmp_path


def test_modules_of_an_image_are_around_it_or_beside_it(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz"
    image.write_bytes(bzimage(b"", "6.12.1-test-amd64"))
    assert find_kernel(str(image), tmp_path, print).modules is None
    beside = tmp_path / "lib/modules/6.12.1-test-amd64"
    beside.mkdir(parents=True)
    module_tree(beside, {})
    assert find_kernel(str(image), tmp_path, print).modules == beside
    module_tree(tmp_path, {})
    assert find_kernel(str(image), tmp_path, print).modules == tmp_path


def test_boot_files_are_named_by_what_they_are_made_of(tmp_path: Path) -> None:
    tree = tmp_path / os.fsdecode(b"m\xff")  # any name will do
    tree.mkdir()
    module_tree(tree, {f"{name}.ko": "" for name in BOOT_MODULES})
    image = tmp_path / "vmlinuz"
    for path in (image, *(tree / f"{name}.ko" for name in BOOT_MODULES)):
        path.write_text("first")
    source = KernelSource(image, "6.12.1-test", tree, None)
    seen = [kernel.boot_name(source, tmp_path)]
    assert seen[0].startswith("boot-6.12.1-test-")
    assert kernel.boot_name(source, tmp_path) == seen[0]
    for path in (image, tree / "9p.ko"):
        path.write_text("another")
        seen.append(kernel.boot_name(source, tmp_path))
        os.utime(path, ns=(1, 1))
        seen.append(kernel.boot_name(source, tmp_path))
    seen.append(kernel.boot_name(replace(source, modules=None), tmp_path))
    assert len(set(seen)) == len(seen)


# initramfs


def module_tree(base: Path, present: dict[str, str], builtin: str = "") -> Path:
    (base / "modules.dep").write_text("".join(f"{k}: {v}\n" for k, v in present.items()))
    (base / "modules.builtin").write_text(builtin)
    return base


def test_modules_come_in_the_order_of_their_needs(tmp_path: Path) -> None:
    present = {f"kernel/{name.replace('_', '-')}.ko.xz": "" for name in BOOT_MODULES[1:]}
    present["kernel/9p.ko.xz"] = "kernel/9pnet.ko.xz kernel/netfs.ko.xz"
    tree = module_tree(tmp_path, present, "kernel/drivers/virtio/virtio_pci.ko\n")
    names = [path.name.split(".")[0] for path in module_files(tree)]
    assert names[-3:] == ["netfs", "9pnet", "9p"]
    assert "virtio_pci" not in names
    assert len(names) == len(set(names))


def test_a_checksum_that_ext4_needs_is_inserted_where_it_is_a_module(tmp_path: Path) -> None:
    present = {f"kernel/{name}.ko": "" for name in BOOT_MODULES}
    without = [path.stem for path in module_files(module_tree(tmp_path, present))]
    present["kernel/crc32c_generic.ko"] = ""
    names = [path.stem for path in module_files(module_tree(tmp_path, present))]
    assert names.index("crc32c_generic") < names.index("ext4")
    assert [name for name in names if name != "crc32c_generic"] == without


def test_missing_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="no module virtio_pci"):
        module_files(module_tree(tmp_path, {}))


def test_archive_is_read_by_cpio(tmp_path: Path) -> None:
    if shutil.which("bsdtar") is None and shutil.which("cpio") is None:
        pytest.skip("neither cpio nor bsdtar is installed")
    archive = Archive()
    archive.add("dir", b"", 0o040755)
    archive.add("dir/file", b"content", 0o100640)
    (tmp_path / "a.cpio").write_bytes(archive.finish())
    reader = ["cpio", "-i", "--to-stdout"] if shutil.which("cpio") else ["bsdtar", "-xOf", "-"]
    with (tmp_path / "a.cpio").open() as stream:
        out = subprocess.run([*reader, "dir/file"], stdin=stream, capture_output=True, check=True)
    assert out.stdout == b"content"


# shares and the machine


def test_working_directory_is_shared_read_only(tmp_path: Path) -> None:
    assert plan(tmp_path, [], []) == [Share(tmp_path, tmp_path, writable=False)]


def test_shares_nest_and_repeat(tmp_path: Path) -> None:
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    planned = plan(tmp_path, [inner, tmp_path], [inner])
    assert planned == [
        Share(tmp_path, tmp_path, writable=False),
        Share(inner, inner, writable=True),
    ]
    assert plan(inner, [], [tmp_path]) == [
        Share(tmp_path, tmp_path, writable=True),
        Share(inner, inner, writable=False),
    ]


def test_guests_own_directories_are_left_to_it(tmp_path: Path) -> None:
    assert plan(Path("/"), [], []) == []
    assert plan(Path("/etc"), [], []) == []
    with pytest.raises(PrepareError, match="has its own /usr"):
        plan(tmp_path, [Path("/usr")], [])
    with pytest.raises(PrepareError, match="no such directory"):
        plan(tmp_path, [tmp_path / "none"], [])


def test_a_working_directory_that_was_removed_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fusebpf.vm", "run", "true"]
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TREE)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (125, "")
    assert "the working directory was removed" in done.stderr


def test_package_of_a_tree_and_of_an_installation(tmp_path: Path) -> None:
    assert package_shares(TREE / "fusebpf") == ([Share(TREE, TREE, writable=False)], str(TREE))
    installed = tmp_path / "site-packages/fusebpf"
    shares, entry = package_shares(installed)
    assert shares == [Share(installed, Path(entry, "fusebpf"), writable=False)]


def test_command_line() -> None:
    spec = MachineSpec(
        boot=BootFiles(Path("/b/vmlinux"), Path("/b/initramfs")),
        disk=Path("/d/root.img"),
        exports=[Export("s0", Path("/a,b"), writable=False), Export("s1", Path("/c"), True)],
        cpus=3,
        memory=512,
        append=["one", "two=2"],
    )
    words = command_line(spec, 7, 8)
    assert words[words.index("-smp") + 1] == "3"
    assert words[words.index("-m") + 1] == "512M"
    assert words[words.index("-append") + 1].endswith(" one two=2")
    read_only, writable = (words[n + 1] for n, word in enumerate(words) if word == "-fsdev")
    assert "path=/a,,b," in read_only
    assert read_only.endswith(",readonly=on")
    assert "readonly" not in writable
    assert any(word.endswith("readonly=on") and "root.img" in word for word in words)
    assert "-icount" not in words
    assert "multi" in words[words.index("-accel") + 1]
    assert "-cx16" in words[words.index("-cpu") + 1].split(",")
    assert not any("virtio-blk-pci,drive=state" in word for word in words)
    kept = command_line(replace(spec, state=Path("/s,t")), 7, 8)
    (drive,) = (word for word in kept if word.startswith("id=state,"))
    assert drive.startswith("id=state,file=/s,,t,")
    assert "readonly" not in drive
    counted = command_line(replace(spec, accel="kvm", counted=True), 7, 8)
    assert counted[counted.index("-icount") + 1] == "shift=0,sleep=off"
    assert counted[counted.index("-accel") + 1] == "tcg,thread=single"
    assert counted[counted.index("-cpu") + 1] == "max"


# console


def test_console_finds_the_reason() -> None:
    console = Console()
    console.feed(b"\x1b[2J[    0.1] Linux version\r\n\r\n")
    assert not console.panicked()
    console.feed(b"[   3.0] BUG: kernel NULL pointer dereference, address: 0\r\n")
    console.feed(b"[   3.1] Kernel panic - not syncing: Fatal exception\r\n")
    assert console.panicked()
    assert console.reason() == "BUG: kernel NULL pointer dereference, address: 0"
    assert console.tail()[0] == "[    0.1] Linux version"
    console.feed(b"x" * (1 << 20))
    assert sum(map(len, console.tail())) <= 64 << 10


def test_console_shows_a_panic_from_its_first_line() -> None:
    console = Console()
    console.feed(b"quiet\nKernel panic - not syncing: why\n")
    console.feed(b"".join(f"frame {n}\n".encode() for n in range(60)))
    assert console.tail()[0] == "Kernel panic - not syncing: why"
    assert len(console.tail()) == 61


def test_console_shows_what_ran_last() -> None:
    console = Console()
    console.feed(f"[ 1.0] {MARK}one\n[ 1.1] {MARK}two\n[ 1.2] between\n".encode())
    assert console.tail() == (f"[ 1.0] {MARK}one", f"[ 1.1] {MARK}two", "[ 1.2] between")
    console.feed(b"".join(f"frame {n}\n".encode() for n in range(60)))
    assert console.tail()[:2] == (f"[ 1.1] {MARK}two", "frame 20")


def test_a_run_can_be_repeated_by_a_command() -> None:
    request = Request(["true"], timeout=5)
    assert repeating(request) == ".venv/bin/fusebpf vm run --"
    other = Request(
        ["true"], kernel="debug", with_module=False, cpus=4, memory=4096, append=["preempt=full a"]
    )
    assert repeating(other) == (
        ".venv/bin/fusebpf vm run --kernel debug --no-module --cpus 4 --memory 4096"
        " --append 'preempt=full a' --"
    )


# module


def test_module_without_builder_or_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PrepareError, match=r"no headers for the kernel 6\.0"):
        module.prepare_module(tmp_path, "6.0", lambda line: None)
    fake = tmp_path / "fusebpf/__init__.py"
    monkeypatch.setattr("fusebpf.__file__", str(fake))
    with pytest.raises(PrepareError, match=r"lacks kernel/build\.py") as caught:
        builder.builder_path("build.py")
    assert "--no-module" in str(caught.value.help)


def test_module_builder_is_asked_and_its_failure_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "usr/src/linux-headers-6.1").mkdir(parents=True)
    script = tmp_path / "build.py"
    monkeypatch.setattr(builder, "builder_path", lambda name: tmp_path / name)
    script.write_text(
        "import sys; print('compiling', file=sys.stderr);"
        f"open({str(tmp_path / 'out.ko')!r}, 'w').write(' '.join(sys.argv[1:]));"
        f"print({str(tmp_path / 'out.ko')!r})"
    )
    told: list[str] = []
    path = module.prepare_module(tmp_path, "6.1", told.append)
    assert path.read_text() == f"module --root {tmp_path} --kver 6.1"
    assert told == ["compiling"]
    script.write_text("import sys; print('src.c:1: error', file=sys.stderr); sys.exit(1)")
    with pytest.raises(PrepareError, match=r"src\.c:1: error"):
        module.prepare_module(tmp_path, "6.1", told.append)


def test_a_builder_is_ended_with_everything_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "builder_path", lambda name: tmp_path / name)
    (tmp_path / "build.py").write_text(
        "import fcntl, subprocess, sys\n"
        f"lock = open({str(tmp_path / 'lock')!r}, 'w')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('compiling', file=sys.stderr, flush=True)\n"
        f"command = ['sh', '-c', 'sleep 30; touch {tmp_path}/ended']\n"
        "subprocess.run(command, pass_fds=[lock.fileno()])\n"
    )

    def stop(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt, match="compiling"):
        builder.run_builder("build.py", [], "the module", "", stop)
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # all that had it are gone
    assert not (tmp_path / "ended").exists()


def test_own_kernels_are_asked_of_their_builder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "builder_path", lambda name: tmp_path / name)
    image = tmp_path / "vmlinux"
    (tmp_path / "image.py").write_text(
        "import sys\n"
        "text = '\\x7fELF Linux version 6.12.9-' + '-'.join(sys.argv[1:])\n"
        f"open({str(image)!r}, 'w').write(text)\n"
        f"print({str(image)!r})"
    )
    found = find_kernel("debug", tmp_path, print)
    assert found.image == image
    assert found.release == f"6.12.9-debug---root-{tmp_path}"
    assert not found.takes_module
    assert found.slowness > 1
    (tmp_path / "image.py").write_text("import sys; sys.exit('no such option')")
    with pytest.raises(PrepareError, match=r"kernel 'patched' could not be built:\nno such option"):
        find_kernel("patched", tmp_path, print)
