# SPDX-License-Identifier: MIT
"""An object written for the fuse-bpf RFC v4 loads with libbpf and acts as v4 says.

Only where fuse-bpf is part of the kernel's own FUSE: a module has neither the 66 members nor the
dynptr functions.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fusebpf.abi.model import Arg, Hook
from fusebpf.abi.opcodes import HOOKS, OPS
from fusebpf.build.clang import find_clang
from fusebpf.runtime import sysbpf
from fusebpf.runtime.fsmount import umount
from fusebpf.runtime.libbpf import Link, Object
from tests.vm import kernelkit as kit
from tests.vm.test_daemon_filters import DO, make_files

SOURCE = Path(__file__).with_name("v4_filters.bpf.c")

pytestmark = pytest.mark.skipif(
    not kit.form().in_kernel,
    reason="needs fuse-bpf in the kernel's own FUSE: make test-vm KERNEL=patched",
)


#: What makes a third set, with every member; each notes how often it was called and the opcode.
EVERY = """
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, u64);
	__uint(max_entries, 64);
} calls SEC(".maps");

static int called(u32 member, const struct bpf_fuse_meta_info *meta)
{
	u64 *value = bpf_map_lookup_elem(&calls, &member);

	if (value)
		*value = ((*value >> 32) + 1) << 32 | meta->opcode;
	return meta->opcode & PREFILTER ? POSTFILTER : CONTINUE;
}
"""


def argument(number: int, arg: Arg) -> str:
    constant = "" if arg.writable else "const "
    return f"{constant}struct {arg.struct.name if arg.struct else 'fuse_buffer'} *a{number}"


def program(number: int, hook: Hook) -> str:
    args = ["const struct bpf_fuse_meta_info *meta"]
    args += [argument(at, arg) for at, arg in enumerate(hook.args)]
    return (
        f'SEC("struct_ops/every_{hook.name}")\n'
        f"int BPF_PROG(every_{hook.name}, {', '.join(args)})\n"
        f"{{\n\treturn called({number}, meta);\n}}\n"
    )


def every_member() -> str:
    members = "".join(f"\t.{name} = (void *)every_{name},\n" for name in HOOKS)
    programs = "".join(program(number, hook) for number, hook in enumerate(HOOKS.values()))
    ops = f'struct fuse_ops v4_every = {{\n{members}\t.name = "v4_every",\n}};\n'
    return f'{EVERY}{programs}SEC(".struct_ops")\n{ops}'


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The object, made as for any libbpf program: types from the running kernel."""
    work = tmp_path_factory.mktemp("v4")
    with (work / "vmlinux.h").open("w") as header:
        command = ["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"]
        subprocess.run(command, check=True, stdout=header)
    flags = ["-g", "-O2", "-mcpu=v3", "-target", "bpf", "-D__TARGET_ARCH_x86", f"-I{work}"]
    source, target = work / "v4.bpf.c", work / "v4.o"
    source.write_text(SOURCE.read_text() + every_member())
    clang = str(find_clang().path)
    subprocess.run([clang, *flags, "-c", str(source), "-o", str(target)], check=True)
    return target.read_bytes()


class V4:
    """The sets of the object, attached, and what their programs saw."""

    FIELDS = re.findall(r"^\t[us]32 (\w+);$", SOURCE.read_text(), re.MULTILINE)

    def __init__(self, data: bytes, read_only: bool = False) -> None:
        self.object = Object(data, "v4")
        self.links: list[Link] = []
        try:
            self.object.set_rodata("read_only", bytes([read_only]))
            self.object.load()
            for name in ("v4_names", "v4_strict", "v4_every"):
                self.links.append(self.object.maps[name].attach_struct_ops())
        except BaseException:
            self.close()
            raise

    def seen(self, field: str) -> int:
        raw = sysbpf.map_lookup(
            self.object.data_map(".bss").fd, struct.pack("=I", 0), 4 * len(self.FIELDS)
        )
        assert raw is not None
        return int(struct.unpack_from("=i", raw, 4 * self.FIELDS.index(field))[0])

    def close(self) -> None:
        for link in self.links:
            link.close()
        self.object.close()


def mount_v4(lower: Path, target: Path, name: str) -> None:
    """Mount as v4's users do: mount(8), descriptor and name as options."""
    root = os.open(lower, os.O_RDONLY | os.O_DIRECTORY)
    try:
        options = f"root_dir={root},root_bpf={name},no_daemon,user_id=0,group_id=0,rootmode=040000"
        command = ["mount", "-i", "-t", "fuse", "-o", options, "none", str(target)]
        subprocess.run(command, check=True, pass_fds=[root])
    finally:
        os.close(root)


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    directory = tmp_path / "lower"
    directory.mkdir()
    for name in ("secret", "secretly", "target", "kopied", "file", "longer-name", "whole"):
        (directory / name).write_text(name)
    (directory / "shrink9").write_text("shrunk")
    return directory


@pytest.fixture
def v4(compiled: bytes, lower: Path, tmp_path: Path) -> Iterator[V4]:
    sets = V4(compiled)
    (tmp_path / "mnt").mkdir()
    try:
        mount_v4(lower, tmp_path / "mnt", "v4_names")
        yield sets
        umount(tmp_path / "mnt", lazy=True)
    finally:
        sets.close()


@pytest.fixture
def mnt(v4: V4, tmp_path: Path) -> Path:
    return tmp_path / "mnt"


def test_the_struct_has_all_members_of_v4() -> None:
    members = kit.form().members
    assert len(members) == 66
    order = sorted(members, key=lambda name: members[name])
    assert order[0] == "default_filter"
    assert order[-1] == "name"
    at = order.index("rename_prefilter")
    assert order[at - 1 : at + 2] == ["rename2_postfilter", "rename_prefilter", "rename_postfilter"]


def test_a_name_is_read_through_a_dynptr(v4: V4, mnt: Path) -> None:
    assert not (mnt / "secret").exists()
    assert v4.seen("name_len") == v4.seen("ro_size") == len("secret") + 1
    assert (mnt / "secretly").read_text() == "secretly"


def test_a_name_is_written_without_a_copy(v4: V4, mnt: Path) -> None:
    assert (mnt / "alias").read_text() == "target"
    assert v4.seen("ro_write") == -errno.EINVAL
    assert v4.seen("postfilters") == 1
    assert v4.seen("entries_len") == 0
    assert (mnt / "zeros").read_text() == "file"


def test_a_copy_keeps_the_name(mnt: Path) -> None:
    assert (mnt / "copied").read_text() == "kopied"
    assert (mnt / "shrink99").read_text() == "shrunk"
    assert (mnt / "longer").read_text() == "longer-name"


def test_a_refused_write_leaves_the_name(v4: V4, mnt: Path) -> None:
    """Defects 1 and 2 of v4: the kernel lost its pointer, or gave out more than it had."""
    assert (mnt / "whole").read_text() == "whole"
    assert v4.seen("too_long_refused") == 1
    assert v4.seen("too_long_len") == len("whole") + 1


def test_an_immutable_name_stays(v4: V4, mnt: Path, lower: Path) -> None:
    os.close(os.open(mnt / "new", os.O_CREAT | os.O_WRONLY, 0o666))
    assert v4.seen("immutable_refused") == 1
    assert v4.seen("immutable_len") == len("new") + 1
    assert (lower / "new").stat().st_mode & 0o777 == 0o600


def test_a_listing_is_changed_as_bytes(mnt: Path, lower: Path) -> None:
    expected = {"hidden" if name == "secret" else name for name in os.listdir(lower)}
    assert set(os.listdir(mnt)) == expected


def test_default_filter_gets_the_opcode(v4: V4, mnt: Path) -> None:
    before = v4.seen("defaulted")
    os.close(os.open(mnt / "file", os.O_RDONLY))
    assert v4.seen("defaulted") > before
    assert v4.seen("last_default") & 0xFFFF in (14, 18)  # FUSE_OPEN, FUSE_RELEASE


@pytest.mark.parametrize("read_only", [True, False])
def test_constants_and_a_second_set(
    compiled: bytes, lower: Path, tmp_path: Path, read_only: bool
) -> None:
    sets = V4(compiled, read_only)
    target = tmp_path / "strict"
    target.mkdir()
    try:
        mount_v4(lower, target, "v4_strict")
        assert (target / "secret").read_text() == "secret"
        code = 0
        try:
            os.close(os.open(target / "file", os.O_WRONLY))
        except OSError as error:
            code = error.errno or 0
        assert code == (errno.EROFS if read_only else 0)
        umount(target)
    finally:
        sets.close()


@pytest.fixture(scope="module")
def every(compiled: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A mount on which every member is called, and a place for each test."""
    base = tmp_path_factory.mktemp("every")
    lower, mnt = base / "lower", base / "mnt"
    lower.mkdir()
    mnt.mkdir()
    sets = V4(compiled)
    try:
        mount_v4(lower, mnt, "v4_every")
        yield SimpleNamespace(object=sets.object, lower_top=lower, top=mnt)
        umount(mnt, lazy=True)
    finally:
        sets.close()


def calls_of(object: Object, hook: str) -> tuple[int, int]:
    """How often a member was called, and the last opcode."""
    key = struct.pack("=I", list(HOOKS).index(hook))
    raw = sysbpf.map_lookup(object.maps["calls"].fd, key, 8)
    assert raw is not None
    opcode, count = struct.unpack("=II", raw)
    return count, opcode


@pytest.mark.parametrize("op", OPS)
def test_every_member_is_called(every: Any, op: str) -> None:
    """Before and after, with the opcode of its operation; the operation does its work."""
    make_files(every.lower_top / op)
    before = [calls_of(every.object, f"{op}_{phase}filter")[0] for phase in ("pre", "post")]
    world: Any = SimpleNamespace(mnt=every.top / op, lower=every.lower_top / op)
    DO[op](world)
    for count, phase, bit in zip(before, ("pre", "post"), (1 << 16, 1 << 17), strict=True):
        now, opcode = calls_of(every.object, f"{op}_{phase}filter")
        assert now > count
        assert opcode == OPS[op].opcode | bit
