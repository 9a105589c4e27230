# SPDX-License-Identifier: MIT
"""Filters for every hook of the kernel part, generated from the opcode table.

One program per hook. What it does is set from outside: its verdict, members of the structs it may
write, bytes of the buffers it may write. It notes what it saw: every member of every struct, the
beginning of every buffer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from fusebpf.abi.model import Arg, Field, Hook, Struct
from fusebpf.abi.opcodes import DEFAULT_FILTER, HOOKS
from tests.vm import kernelkit as kit

SERVED: dict[str, Hook] = {
    hook.name: hook for hook in (DEFAULT_FILTER, *HOOKS.values()) if kit.served(hook)
}
_INDEX = {name: index for index, name in enumerate(SERVED)}

FIELDS = 48
BUFFERS = 3
BYTES = 64


class Control(ctypes.Structure):
    """What a hook's program shall do; the C struct of the same layout is below."""

    _fields_ = [
        ("verdict", ctypes.c_int64),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64 * FIELDS),
        ("clear", ctypes.c_uint64),
        ("valid_ns", ctypes.c_uint64),
        ("scribble", ctypes.c_uint64),
        ("set_len", ctypes.c_uint32 * (BUFFERS + 1)),
        ("bytes", (ctypes.c_uint8 * BYTES) * BUFFERS),
    ]


class Seen(ctypes.Structure):
    """What a hook's program saw the last time it ran."""

    _fields_ = [
        ("count", ctypes.c_uint64),
        ("opcode", ctypes.c_uint64),
        ("error_in", ctypes.c_int64),
        ("nodeid", ctypes.c_uint64),
        ("tag", ctypes.c_uint64),
        ("tag2", ctypes.c_uint64),
        ("clear", ctypes.c_int64),
        ("field", ctypes.c_uint64 * FIELDS),
        ("set_len", ctypes.c_int64 * BUFFERS),
        ("len", ctypes.c_uint32 * (BUFFERS + 1)),
        ("bytes", (ctypes.c_uint8 * BYTES) * BUFFERS),
    ]


def _scalars(struct_: Struct, prefix: str) -> Iterator[tuple[str, Field]]:
    for field in struct_.fields:
        if field.reserved:
            continue
        if field.struct is not None:
            yield from _scalars(field.struct, f"{prefix}.{field.name}")
        else:
            yield f"{prefix}.{field.name}", field


def fields(hook: Hook) -> list[tuple[str, Arg]]:
    """Every struct member that a hook gets, "open_in.flags", with its argument, in order."""
    return [
        (path, arg)
        for arg in hook.args
        if arg.struct is not None
        for path, _field in _scalars(arg.struct, arg.name)
    ]


def buffers(hook: Hook) -> list[Arg]:
    """A hook's buffers, in order."""
    return [arg for arg in hook.args if arg.struct is None]


def writable(hook: Hook) -> list[str]:
    """All that a hook may change: members of structs ("open_in.flags") and buffers ("name")."""
    return [path for path, arg in fields(hook) if arg.writable] + [
        arg.name for arg in buffers(hook) if arg.writable
    ]


def _program(hook: Hook) -> str:
    lines = [
        f'SEC("?struct_ops/{hook.name}") int {hook.name}(__u64 *ctx)\n{{',
        f"\t__u32 key = {_INDEX[hook.name]};",
        "\tstruct control *c = bpf_map_lookup_elem(&controls, &key);",
        "\tstruct seen *s = bpf_map_lookup_elem(&observed, &key);",
        "\tconst struct bpf_fuse_meta_info *meta = (void *)ctx[0];",
        "\n\tif (!c || !s)\n\t\treturn -5;",
        "\t__sync_fetch_and_add(&s->count, 1);",
        "\ts->opcode = meta->opcode;\n\ts->error_in = (__s32)meta->error_in;",
        "\ts->nodeid = meta->nodeid;",
        "\ts->tag = bpf_fuse_tag(meta);\n\ts->tag2 = bpf_fuse_tag2(meta);",
    ]
    at = buffer = 0
    for number, arg in enumerate(hook.args, 1):
        if arg.struct is not None:
            lines.append(f"\tstruct {arg.struct.name} *a{number} = (void *)ctx[{number}];")
            for path, _field in _scalars(arg.struct, f"a{number}"):
                member = path.replace(".", "->", 1)
                lines.append(f"\ts->field[{at}] = {member};")
                if arg.writable:
                    lines.append(f"\tif (c->mask & (1ULL << {at}))")
                    lines.append(f"\t\t{member} = c->value[{at}];")
                at += 1
            continue
        lines.append(f"\tstruct fuse_buffer *a{number} = (void *)ctx[{number}];")
        if arg.kind == "dirents":
            lines.append(f"\tlist(s, c, {buffer}, a{number});")
        else:
            rest = f"{buffer}, a{number}, {'ENTRIES' if arg.name == 'entries' else 'BYTES'});"
            lines.append(f"\tsee(s, {rest}\n\tchange(s, c, {rest}")
        buffer += 1
    if hook.op == "lookup":
        lines.append("\tif (c->valid_ns)\n\t\tbpf_fuse_entry_valid(meta, c->valid_ns);")
    lines.append("\tif (c->clear)\n\t\ts->clear = bpf_fuse_clear_error(meta);")
    lines.append("\treturn c->verdict;\n}\n")
    return "\n".join(lines)


@lru_cache(maxsize=1)
def compiled() -> bytes:
    """The object with a program per served hook, compiled once a session."""
    members = "".join(f"\t.{name} = (void *){name},\n" for name in SERVED)
    ops = f'SEC("?.struct_ops.link") struct fuse_ops ops = {{\n{members}\t.name = "hooks",\n}};\n'
    programs = "\n".join(map(_program, SERVED.values()))
    text = f'#include "hook_filters.h"\n\n{programs}\n{ops}'
    sizes = {"FIELDS": FIELDS, "BUFFERS": BUFFERS, "BYTES": BYTES, "HOOKS": len(SERVED)}
    # Unrolling would double the time that the guest needs to compile them
    flags = ["-fno-unroll-loops", *(f"-D{k}={v}" for k, v in sizes.items())]
    return kit.compiled(Path("hook_filters.bpf.c"), *flags, text=text)


class Hooks(kit.Filters):
    """Attached generated filters."""

    TABLES = ("controls", "observed")

    def __init__(self, members: tuple[str, ...], name: str | None = None) -> None:
        super().__init__(members, name, compiled())

    def steer(
        self,
        hook: str,
        verdict: int = 0,
        clear: bool = False,
        valid_ns: int = 0,
        **changes: int | bytes,
    ) -> None:
        """Set what a hook's program does from now on.

        A change is open_in__flags=1 for a struct's member, name=b"x\\0" for a buffer's contents
        and length.
        """
        control = Control(verdict=verdict, clear=int(clear), valid_ns=valid_ns)
        paths = [path for path, _arg in fields(SERVED[hook])]
        names = [arg.name for arg in buffers(SERVED[hook])]
        for name, value in changes.items():
            path = name.replace("__", ".")
            if isinstance(value, int):
                at = paths.index(path)
                control.mask |= 1 << at
                control.value[at] = value & (2**64 - 1)
            else:
                at = names.index(path)
                control.set_len[at] = len(value)
                for index, byte in enumerate(value[:BYTES]):
                    control.bytes[at][index] = byte
        self.write_control(hook, control)

    def write_control(self, hook: str, control: Control) -> None:
        """Set all of what a hook's program does."""
        size = ctypes.sizeof(Control)
        at = _INDEX[hook] * size
        self.memory["controls"][at : at + size] = bytes(control)

    def look(self, hook: str) -> Seen:
        """What a hook's program saw."""
        at = _INDEX[hook] * ctypes.sizeof(Seen)
        return Seen.from_buffer_copy(self.memory["observed"], at)

    def field(self, hook: str, path: str) -> int:
        """A struct's member as a hook's program saw it."""
        paths = [name for name, _arg in fields(SERVED[hook])]
        return int(self.look(hook).field[paths.index(path)])

    def buffer(self, hook: str, name: str) -> bytes:
        """A buffer's contents as a hook's program saw them, at most BYTES of them."""
        at = [arg.name for arg in buffers(SERVED[hook])].index(name)
        seen = self.look(hook)
        return bytes(seen.bytes[at])[: seen.len[at]]


@contextmanager
def mounted(attached: Hooks, lower: Path, target: Path) -> Iterator[Hooks]:
    """A mount with filters that are attached already, each returning CONTINUE."""
    attached.reset()
    with kit.mounted(lower, target, root_bpf_link=attached.link.fd):
        try:
            yield attached
        finally:
            attached.reset()


@contextmanager
def hooked(lower: Path, target: Path, *members: str) -> Iterator[Hooks]:
    """A mount with the generated filters of some hooks (none named: all)."""
    attached = Hooks(members)
    try:
        with mounted(attached, lower, target):
            yield attached
    finally:
        attached.close()


def open_more(attached: Hooks, members: tuple[str, ...]) -> Hooks:
    """Another set of the same name, loaded but not attached."""
    more = Hooks.__new__(Hooks)
    more.name = attached.name
    more.object = kit.open_ops(members, attached.name, image=compiled())
    more.object.load()
    more.reset()
    return more
