# SPDX-License-Identifier: MIT
"""What an object says of itself: written at build, read by `objfile` and from the kernel.

The whole is JSON in the ELF section `.fusebpf`. The part that is asked of a loaded set is kept
also in `bpf_metadata_*` constants of `.rodata`, which stay with the programs in the kernel and
which bpftool shows too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from fusebpf.frozen import dataclass

SECTION = ".fusebpf"
FORMAT = 1


@dataclass(frozen=True)
class HookMeta:
    """A filter: the member of fuse_ops it serves, the Python function and its line.

    `program` is the C function; the object's programs are named after it (bpf/fusebpf.h).
    """

    hook: str
    function: str
    line: int
    program: str


@dataclass(frozen=True)
class MapMeta:
    """A map as declared. `key` and `value` are type names ("u32") or the text of a record
    (`fusebpf.abi.record`); kind as in the language.

    Events are a map, too, of kind "events": `value` is the event, `max_entries` the ring in bytes.
    """

    name: str
    kind: str
    key: str
    value: str
    max_entries: int


@dataclass(frozen=True)
class ConfigMeta:
    """A value that is chosen at load: type ("u64", "bool"), default and the range allowed."""

    name: str
    type: str
    default: int
    least: int
    most: int


LOST = MapMeta("fusebpf_lost", "percpu_array", "u32", "u64", 1)
"""Counts changes `m[k] += n` that found a map full; only in sets that have such statements."""


def drops(count: int) -> MapMeta:
    """Counts events that found their ring full, by the order in which they are declared."""
    return MapMeta(DROPS, "percpu_array", "u32", "u64", count)


DROPS = "fusebpf_drops"
EVENTS = "events"


@dataclass(frozen=True)
class Metadata:
    """All of it. `abi` is `fusebpf.abi.ABI_VERSION` of the builder; hashes are SHA-256, hex."""

    set: str
    abi: int
    source_file: str
    source_sha256: str
    hooks: tuple[HookMeta, ...]
    maps: tuple[MapMeta, ...]
    fusebpf: str
    clang: str
    config: tuple[ConfigMeta, ...] = ()

    def to_json(self) -> str:
        """One line, the same for the same metadata, ASCII only."""
        return _dump({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        """Inverse of `to_json`. Raises ValueError for another format or missing parts."""
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise ValueError(f"metadata of format {data['format']}, {FORMAT} expected")
            return cls(
                set=str(data["set"]),
                abi=int(data["abi"]),
                source_file=str(data["source_file"]),
                source_sha256=str(data["source_sha256"]),
                hooks=tuple(HookMeta(**entry) for entry in data["hooks"]),
                maps=maps_from_list(data["maps"]),
                fusebpf=str(data["fusebpf"]),
                clang=str(data["clang"]),
                config=tuple(ConfigMeta(**entry) for entry in data["config"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("it is not the metadata of this version") from error


def maps_from_list(entries: Sequence[Mapping[str, object]]) -> tuple[MapMeta, ...]:
    """Maps from their JSON form."""
    return tuple(MapMeta(**entry) for entry in entries)  # type: ignore[arg-type]


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def c_trailer(metadata: Metadata) -> str:
    """C to append to the generated source: it puts the metadata into the object."""
    maps = _dump([asdict(entry) for entry in metadata.maps])
    constants = {
        "bpf_metadata_fusebpf_abi": str(metadata.abi),
        "bpf_metadata_fusebpf_maps": maps,
        "bpf_metadata_fusebpf_source": metadata.source_sha256,
        "bpf_metadata_fusebpf_version": metadata.fusebpf,
    }
    lines = ['#line 1 "<metadata>"']
    for name, text in constants.items():
        lines.append(f'const char {name}[] __attribute__((used, section(".rodata"))) =')
        lines.append(f"\t{_quoted(text)};")
    # Assembly, as a C variable would get a type in BTF that the kernel has no use for.
    directive = f"\t.ascii {_quoted(metadata.to_json())}\n"
    assembly = f'.pushsection {SECTION},"",@progbits\n{directive}\t.popsection\n'
    lines.append(f"__asm__({_quoted(assembly)});")
    return "\n" + "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A string literal, of C and of the assembler alike, for ASCII text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
