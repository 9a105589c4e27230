# SPDX-License-Identifier: MIT
"""The kinds of operations: what each does, and how its arguments are chosen."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.differential.script import Path, Slot
from tests.differential.world import MAPS, SLOTS


class Chooser(Random):
    """Chooses arguments, and remembers what earlier steps may have left."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.made: list[str] = []

    def note(self, args: tuple[object, ...]) -> None:
        """Remember the last path of a step that makes one; the oldest are forgotten."""
        paths = [arg.path for arg in args if isinstance(arg, Path)]
        self.made = [*self.made[-7:], *paths[-1:]]


Maker = Callable[[Chooser], object]
NAMES = ("a", "b", "c", "d")
# Descriptors of directories are mostly kept in the first slots, so that they are found again
DIRECTORIES = 2
FAR = 5 << 30


@dataclass(frozen=True)
class Spec:
    """One kind of operation; `run` takes a World and as many arguments as there are makers."""

    run: Callable[..., object]
    makers: tuple[Maker, ...]
    weight: int
    # Part of what the mount keeps to itself, unlike the directory below (docs/kernel.md)
    shared: bool


SPECS: dict[str, Spec] = {}

Run = Callable[..., Any]


def op(*makers: Maker, weight: int = 2, shared: bool = True) -> Callable[[Run], Run]:
    """Register a function as a kind of operation, under its name.

    What is not shared with the lower directory is not done there.
    """

    def register(run: Run) -> Run:
        SPECS[run.__name__.strip("_")] = Spec(run, makers, weight, shared)
        return run

    return register


def pick(*values: object) -> Maker:
    """One of some values; write a value twice to see it twice as often."""
    return lambda random: random.choice(values)


def below(end: int) -> Maker:
    """A number from 0 on."""
    return lambda random: random.randrange(end)


def relative(random: Chooser) -> str:
    """A name, one or two directories deep; rarely a shape that path walks treat specially.

    Never one that ends in "..": above the root the sides are not twins.
    """
    if random.made and random.random() < 0.4:
        return random.choice(random.made)
    above = random.choice(((), (), ("a",), ("a",), ("b",), ("a", "b"), random.choices(NAMES, k=2)))
    parts = [*above, random.choice(NAMES)]
    odd = random.random()
    if odd < 0.03:
        parts.insert(random.randrange(len(parts)), parts[0] + "/..")
    elif odd < 0.05:
        parts.insert(0, ".")
    elif odd < 0.07:
        parts[-1] += "/"
    elif odd < 0.08:
        parts[-1] = random.choice(("n" * 255, "n" * 256))
    return "/".join(parts)


def path(random: Chooser) -> Path:
    """A path from the working directory, or from a directory that is kept open."""
    at = directory_slot(random).number if random.random() < 0.15 else -1
    return Path(at, relative(random))


def plain_path(random: Chooser) -> Path:
    """A path for calls that take no directory descriptor."""
    return Path(-1, relative(random))


def slot(random: Chooser) -> Slot:
    """A descriptor of a file; rarely one of a directory."""
    first = 0 if random.random() < 0.05 else DIRECTORIES
    return Slot(random.randrange(first, SLOTS))


def into(random: Chooser) -> Slot:
    """A place for the descriptor of a file."""
    return Slot(random.randrange(DIRECTORIES, SLOTS))


def directory_slot(random: Chooser) -> Slot:
    """A descriptor of a directory; rarely any."""
    return Slot(random.randrange(SLOTS if random.random() < 0.05 else DIRECTORIES))


def into_directory(random: Chooser) -> Slot:
    """A place for the descriptor of a directory."""
    return Slot(random.randrange(DIRECTORIES))


mapping = below(MAPS)


def offset(random: Chooser) -> int:
    """A position in bytes: around page borders, anywhere, rarely beyond 4 GiB or negative."""
    kind = random.random()
    if kind < 0.4:
        return max(0, random.randrange(9) * 4096 + random.choice((-1, 0, 0, 1)))
    if kind < 0.95:
        return random.randrange(40000)
    return random.choice((-1, FAR, FAR + 1234))


def length(random: Chooser) -> int:
    """A count of bytes: none, few, up to some pages."""
    return random.choice((0, 1, 7, 100, 4095, 4096, 4097, 12288, random.randrange(20000)))


def read_length(random: Chooser) -> int:
    """A count of bytes to read; not 0, which changes the access time on some file systems below
    and never on a mount (docs/kernel.md)."""
    return length(random) or 2


def mode(random: Chooser) -> int:
    """Permission bits, with set-id and sticky bits at times."""
    return random.choice((0o644, 0o600, 0o666, 0o755, 0o777, 0o700, 0, random.randrange(0o10000)))


def owner(random: Chooser) -> int:
    """A user or group; -1 leaves it."""
    return random.choice((-1, 0, 1000, 1001, 2000, 3000))


def open_flags(random: Chooser) -> int:
    """Flags of open(2); who opens adds O_NONBLOCK: nothing waits for the other end of a FIFO."""
    flags = random.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR))
    for flag, share in (
        (os.O_CREAT, 0.5),
        (os.O_EXCL, 0.15),
        (os.O_TRUNC, 0.15),
        (os.O_APPEND, 0.15),
        (os.O_NOFOLLOW, 0.1),
        (os.O_DIRECT, 0.08),
        (os.O_SYNC, 0.05),
        (os.O_DSYNC, 0.05),
        (os.O_NOATIME, 0.05),
    ):
        if random.random() < share:
            flags |= flag
    return flags


def payload(seed: int, size: int) -> bytes:
    """Bytes that tell which write they came from."""
    return (f"<{seed}>".encode() * (size // 3 + 1))[:size]


def short(data: bytes | bytearray) -> str:
    """Length and digest of what was read."""
    return f"{len(data)}:{hashlib.sha256(data).hexdigest()[:16]}"
