# SPDX-License-Identifier: MIT
"""What filters are called with: the context, names, directory entries, argument structs.

They work in plain Python too, so that a filter can be called like any function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar, Self, overload

Text = str | bytes


def _bytes(text: Text | Bytes) -> bytes:
    if isinstance(text, Bytes):
        return text.raw
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


class Bytes:
    """What names and buffers have in common: a string of bytes.

    Text stands for its UTF-8 bytes. ``name[i]`` is an integer; outside the name it is 0.
    """

    __slots__ = ("raw",)

    def __init__(self, text: Text = b"") -> None:
        self.raw = _bytes(text)

    def __len__(self) -> int:
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        return self.raw == _bytes(other) if isinstance(other, str | bytes | Bytes) else False

    def __hash__(self) -> int:
        # Equal to the hash of the same text, so that `name in {"a", "b"}` finds it.
        try:
            return hash(self.raw.decode())
        except UnicodeDecodeError:
            return hash(self.raw)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.raw!r})"

    def __iter__(self) -> Iterator[int]:
        return iter(self.raw)

    def __add__(self, other: Text | Bytes) -> Self:
        """``name[:-4] + ".txt"``: what a name can be replaced by."""
        return type(self)(self.raw + _bytes(other))

    def __radd__(self, other: Text) -> Self:
        return type(self)(_bytes(other) + self.raw)

    def __contains__(self, part: Text) -> bool:
        return _bytes(part) in self.raw

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> int | Self:
        if isinstance(index, slice):
            return type(self)(self.raw[index])
        return self.raw[index] if -len(self.raw) <= index < len(self.raw) else 0

    def __setitem__(self, part: slice, text: Text | Bytes) -> None:
        """``name[:] = "other"``: other contents, where the operation uses the change."""
        if (part.start, part.stop, part.step) != (None, None, None):
            raise ValueError("only the whole can be replaced: name[:] = ...")
        self.raw = _bytes(text)

    def startswith(self, prefix: Text | tuple[Text, ...]) -> bool:
        """Whether it begins with ``prefix``, or with any of a tuple."""
        return self.raw.startswith(
            tuple(map(_bytes, prefix)) if isinstance(prefix, tuple) else _bytes(prefix)
        )

    def endswith(self, suffix: Text | tuple[Text, ...]) -> bool:
        """Whether it ends with ``suffix``, or with any of a tuple."""
        return self.raw.endswith(
            tuple(map(_bytes, suffix)) if isinstance(suffix, tuple) else _bytes(suffix)
        )

    def lower(self) -> Self:
        """The bytes with ASCII letters in lower case."""
        return type(self)(self.raw.lower())

    def glob(self, pattern: Text | tuple[Text, ...]) -> bool:
        """Whether it matches ``pattern``, or any of a tuple: ``fnmatch.fnmatchcase`` on bytes."""
        patterns = pattern if isinstance(pattern, tuple) else (pattern,)
        return any(fnmatchcase(self.raw, _bytes(one)) for one in patterns)


class Name(Bytes):
    """A file name as the kernel sees it: 1…255 bytes without a NUL."""

    __slots__ = ()


class Buffer(Bytes):
    """A path, or the value of an extended attribute: at most 4,095 bytes can be looked into."""

    __slots__ = ()


class Context:
    """Who asks, for what.

    ``uid`` and ``gid`` are the ids that permission checks use (fsuid, fsgid), in the initial user
    namespace; ``pid`` is the process, ``tid`` the thread. ``nodeid`` and ``opcode`` name the inode
    and the operation. ``error_in`` is 0, or in a postfilter the negated errno of the operation.
    ``tag`` is the policy tag of the inode; a lookup filter may set it. ``tag2`` is that of the
    second object: of a rename and a link the new directory, of a copy the file written to; else 0.
    ``ktime`` is monotonic time in ns.
    """

    __slots__ = (
        "cleared", "egid", "error_in", "euid", "gid", "kept_ns", "ktime", "nodeid", "opcode", "pid",
        "tag", "tag2", "tid", "uid",
    )  # fmt: skip

    def __init__(
        self,
        *,
        uid: int = 0,
        gid: int = 0,
        euid: int = 0,
        egid: int = 0,
        pid: int = 1,
        tid: int = 1,
        nodeid: int = 1,
        opcode: int = 0,
        error_in: int = 0,
        tag: int = 0,
        tag2: int = 0,
        ktime: int = 0,
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.euid = euid
        self.egid = egid
        self.pid = pid
        self.tid = tid
        self.nodeid = nodeid
        self.opcode = opcode
        self.error_in = error_in
        self.tag = tag
        self.tag2 = tag2
        self.ktime = ktime
        #: What the methods below did: whether the error was cleared, how long the answer holds.
        self.cleared = False
        self.kept_ns = 0

    def clear_error(self) -> None:
        """In a postfilter: the operation succeeds where it failed, unless the verdict refuses."""
        self.cleared = self.error_in != 0

    def keep_answer(self, ns: int) -> None:
        """In a lookup filter: its answer holds for ``ns`` nanoseconds and is not asked for again.

        Not for an answer that is another one for another caller, or after a map changed.
        """
        self.kept_ns = ns & ((1 << 64) - 1)


class Dirent:
    """One entry of a directory listing. ``type`` is DT_* of readdir(3).

    ``name`` and ``type`` can be set. An entry whose new name is empty, or has more bytes than its
    first one rounded up to a multiple of 8, is left out instead.
    """

    __slots__ = ("_name", "_room", "_type", "dropped", "ino")

    def __init__(self, name: Text | Name, ino: int = 0, type: int = 0) -> None:
        self._name = name if isinstance(name, Name) else Name(name)
        self._room = min(-(-len(self._name) // 8) * 8, 255)
        self.ino = ino
        self._type = type
        self.dropped = False

    @property
    def name(self) -> Name:
        """The name of the entry."""
        return self._name

    @name.setter
    def name(self, name: Text | Name) -> None:
        new = Name(_bytes(name))
        if 0 < len(new) <= self._room:
            self._name = new
        else:
            self.dropped = True

    @property
    def type(self) -> int:
        """The type of the entry; what is set is taken modulo 16."""
        return self._type

    @type.setter
    def type(self, type: int) -> None:
        self._type = type & 15

    def drop(self) -> None:
        """Leave the entry out of the listing."""
        self.dropped = True


class Dirents:
    """The entries of one call of getdents(2), in order; a loop goes past those that were dropped.

    ``entries`` has all of them.
    """

    __slots__ = ("entries",)

    def __init__(self, entries: Sequence[Dirent] = ()) -> None:
        self.entries = list(entries)

    def __iter__(self) -> Iterator[Dirent]:
        return (entry for entry in self.entries if not entry.dropped)


class Struct:
    """Base of the argument structs; a store takes the value modulo the member's width."""

    #: Member → (bits, signed); nested structs are not listed.
    _widths: ClassVar[dict[str, tuple[int, bool]]] = {}

    # Hidden from type checkers, which would take every member for known.
    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            width = self._widths.get(name)
            if width is not None and isinstance(value, int):
                bits, signed = width
                value &= (1 << bits) - 1
                if signed and value >> (bits - 1):
                    value -= 1 << bits
            elif name not in self.__class__.__annotations__:
                raise AttributeError(f"{type(self).__name__} has no member {name!r}")
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        members = ", ".join(f"{k}={v!r}" for k, v in self.__dict__.items())
        return f"{type(self).__name__}({members})"
