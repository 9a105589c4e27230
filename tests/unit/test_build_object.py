# SPDX-License-Identifier: MIT
"""From a filter file to an object: clang, determinism, cache, metadata."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fusebpf import objfile
from fusebpf.abi import ABI_VERSION
from fusebpf.build import BuildError, build_compiled, build_file, clang, compile_file
from fusebpf.build.cache import lookup, store, write_atomically
from fusebpf.build.metadata import LOST, HookMeta, MapMeta, Metadata, c_trailer
from fusebpf.build.paths import share_dir
from fusebpf.runtime.verify import verify
from tests.unit.runtime_objects import needs_root

GUARD = '''"""Keeps keys out of sight."""
from fusebpf import CONTINUE, Context, FilterSet, Name, OpenIn
from fusebpf.constants import ENOENT, EROFS, O_ACCMODE, O_RDONLY
from fusebpf.types import u32, u64

filters = FilterSet("guard")
hits = filters.percpu_array("hits", value=u64, max_entries=2)
trusted = filters.hash("trusted", key=u32, value=u64, max_entries=1024)

@filters.lookup.pre
def hide_keys(ctx: Context, name: Name):
    if name.endswith(".pem") or name in {".env", "id_rsa"}:
        hits[0] += 1
        return -ENOENT
    return CONTINUE

@filters.open.pre
def read_only(ctx: Context, req: OpenIn):
    if req.flags & O_ACCMODE != O_RDONLY and ctx.uid not in trusted:
        return -EROFS
'''


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("FUSEBPF_CACHE", str(cache))
    return cache


@pytest.fixture
def guard(tmp_path: Path) -> Path:
    path = tmp_path / "guard.py"
    path.write_text(GUARD)
    return path


def test_object_says_what_it_is(guard: Path) -> None:
    built = build_file(guard)
    found = objfile.read(built.path)
    assert found.metadata == built.metadata
    assert found.metadata.set == "guard"
    assert found.metadata.abi == ABI_VERSION
    assert [(hook.hook, hook.function) for hook in found.metadata.hooks] == [
        ("lookup_prefilter", "hide_keys"),
        ("open_prefilter", "read_only"),
    ]
    assert found.metadata.hooks[0].line in (10, 11)
    assert found.metadata.maps == (
        MapMeta("hits", "percpu_array", "u32", "u64", 2),
        MapMeta("trusted", "hash", "u32", "u64", 1024),
    )
    names = {program.name: program.section for program in found.programs}
    assert names["hide_keys_ops"] == "struct_ops/lookup_prefilter"
    assert names["hide_keys_standin"] == "raw_tp"
    sections = {section.name for section in found.sections}
    assert {".BTF", ".BTF.ext", ".fusebpf"} <= sections
    assert not {name for name in sections if name.startswith(".debug")}


def test_an_object_to_be_attached_has_no_stand_ins(guard: Path) -> None:
    whole, built = build_file(guard), build_file(guard, standins=False)
    names = {program.name for program in objfile.read(built.path).programs}
    assert names == {"hide_keys_ops", "read_only_ops"}
    assert built.path != whole.path
    assert built.metadata == whole.metadata


def test_same_input_gives_the_same_bytes_in_two_directories(guard: Path, tmp_path: Path) -> None:
    first = build_file(guard)
    data = first.data
    elsewhere = tmp_path / "some where" / "else"
    elsewhere.mkdir(parents=True)
    shutil.copy(guard, elsewhere)
    shutil.rmtree(tmp_path / "cache")
    second = build_file(elsewhere / "guard.py")
    assert second.data == data
    for secret in (str(tmp_path), str(share_dir("bpf"))):
        assert secret.encode() not in data


def test_users_lines_are_in_the_line_information(guard: Path) -> None:
    assert b'if name.endswith(".pem") or name in' in build_file(guard).data


def test_unchanged_input_is_not_compiled_again(
    guard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_file(guard)

    def never(*_args: object) -> bytes:
        raise AssertionError("clang was run for unchanged input")

    monkeypatch.setattr("fusebpf.build.driver.compile_c", never)
    assert build_file(guard).path == first.path
    guard.write_text(GUARD.replace(".pem", ".key"))
    with pytest.raises(AssertionError):
        build_file(guard)


@pytest.mark.parametrize("left", [0, 100, -1])
def test_a_truncated_cache_entry_is_built_again(guard: Path, left: int) -> None:
    first = build_file(guard)
    data = first.data
    first.path.write_bytes(data[:left])
    assert build_file(guard).data == data
    assert first.path.read_bytes() == data
    first.path.with_name(f"{first.path.name}.sha256").write_bytes(b"")
    assert build_file(guard).data == data


@needs_root
def test_an_object_of_someone_else_is_not_trusted(guard: Path) -> None:
    first = build_file(guard)
    first.path.write_bytes(b"\x7fELF planted")
    os.chown(first.path, 65534, 65534)
    assert build_file(guard).data == first.data
    assert first.path.stat().st_uid == 0


def test_cache_that_cannot_be_written(
    guard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FUSEBPF_CACHE", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="cannot write the cache") as caught:
        build_file(guard)
    assert "FUSEBPF_CACHE" in (caught.value.help or "")


def test_a_user_without_a_home_is_told_what_to_set(
    guard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("FUSEBPF_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(BuildError, match="there is no home directory") as caught:
        build_file(guard)
    assert "set FUSEBPF_CACHE" in (caught.value.help or "")


def test_cache_is_bounded(own_cache: Path) -> None:
    for number in range(70):
        store(f"aa{number:062x}", b"\x7fELF" + bytes([number]))
    assert len(list((own_cache / "objects" / "aa").glob("*.o"))) == 64
    assert lookup(f"aa{69:062x}") is not None


def test_atomic_write_leaves_no_temporary_behind(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "directory", b"data")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("environment", [{"PATH": "/nonexistent"}, {"FUSEBPF_CLANG": "/no/clang"}])
def test_missing_clang(
    guard: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BuildError) as caught:
        build_file(guard)
    said = str(caught.value)
    assert "apt-get install clang" in said or "FUSEBPF_CLANG=/no/clang is not a program" in said


def test_something_else_named_clang(guard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSEBPF_CLANG", "/bin/true")
    with pytest.raises(BuildError, match=r"/bin/true is not clang(?s:.*)unset it"):
        build_file(guard)


def test_newest_clang_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (15, 21, 18):
        program = tmp_path / f"clang-{number}"
        program.write_text(f"#!/bin/sh\necho 'Some clang version {number}.1.2 (x)'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin/nothing")
    found = clang.find_clang()
    assert (found.path, found.version) == (str(tmp_path / "clang-21"), "21.1.2")


@pytest.mark.skipif(shutil.which("cc") is None, reason="makes a program")
def test_a_program_is_asked_for_its_version_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "clang"
    asked = tmp_path / "asked"
    monkeypatch.setenv("FUSEBPF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FUSEBPF_CLANG", str(program))

    def install(version: str) -> None:
        text = tmp_path / "clang.c"
        text.write_text(
            '#include <stdio.h>\nint main(void) { fputc(46, fopen("' + str(asked) + '", "a")); '
            f'return puts("clang version {version}") < 0; }}\n'
        )
        program.unlink(missing_ok=True)
        subprocess.run(["cc", "-o", str(program), str(text)], check=True)

    install("19.1.7")
    assert [clang.find_clang().version for _ in range(3)] == ["19.1.7"] * 3
    assert asked.read_text() == "."
    install("20.1.0")
    assert [clang.find_clang().version for _ in range(2)] == ["20.1.0"] * 2
    assert asked.read_text() == ".."
    program.unlink()
    for version in ("21.0.1", "21.0.2"):  # a script can run another program each time
        program.write_text(f"#!/bin/sh\necho clang version {version}\n")
        program.chmod(0o755)
        assert clang.find_clang().version == version


def test_old_clang_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "oldclang"
    program.write_text("#!/bin/sh\necho 'clang version 11.0.1'\n")
    program.chmod(0o755)
    monkeypatch.setenv("FUSEBPF_CLANG", str(program))
    with pytest.raises(BuildError, match="is clang 11; at least"):
        clang.find_clang()


def test_refusals_of_clang_come_back_at_their_line(tmp_path: Path) -> None:
    source = '#include "fusebpf.h"\n#line 7 "filters.py"\nint broken = nonsense;\n'
    with pytest.raises(clang.ClangError) as caught:
        clang.compile_c(clang.find_clang(), source, tmp_path)
    (first, *_) = caught.value.messages
    assert (first.file, first.line, first.kind) == ("filters.py", 7, "error")
    assert "nonsense" in first.text


def test_c_that_clang_refuses_is_shown_at_the_python_line(guard: Path) -> None:
    compiled = compile_file(guard)
    broken = compiled.c_source + '\n#line 14 "guard.py"\nint broken = nonsense;\n'
    with pytest.raises(BuildError) as caught:
        build_compiled(replace(compiled, c_source=broken))
    (found,) = caught.value.diagnostics
    assert (found.file, found.line, found.code) == (str(guard), 14, "E900")
    assert "nonsense" in found.message
    assert f" 14 | {GUARD.splitlines()[13]}" in caught.value.render()


def test_include_path_variables_do_not_reach_clang(
    guard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fusebpf.h").write_text("#error another header\n")
    monkeypatch.setenv("CPATH", str(tmp_path))
    assert build_file(guard).data


def test_metadata_survives_odd_text(tmp_path: Path) -> None:
    odd = Metadata(
        set='q"uo\\te',
        abi=ABI_VERSION,
        source_file='naïve "file"\n.py',
        source_sha256="0" * 64,
        hooks=(HookMeta("lookup_prefilter", "f", 1, "f"),),
        maps=(),
        fusebpf="0",
        clang="19",
    )
    data = clang.compile_c(clang.find_clang(), c_trailer(odd), tmp_path)
    assert objfile.parse(tmp_path / "odd.o", data).metadata == odd


def test_objects_of_others_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.o"
    text.write_text("not an object")
    with pytest.raises(objfile.ObjectFileError, match="is not an ELF object"):
        objfile.read(text)
    with pytest.raises(objfile.ObjectFileError, match="is ELF, but not for BPF"):
        objfile.read("/bin/true")
    with pytest.raises(objfile.ObjectFileError, match="cannot read"):
        objfile.read(tmp_path / "absent.o")
    bare = tmp_path / "bare.o"
    bare.write_bytes(clang.compile_c(clang.find_clang(), "int x = 1;\n", tmp_path))
    with pytest.raises(objfile.ObjectFileError, match="not built by fusebpf"):
        objfile.read(bare)
    half = tmp_path / "half.o"
    half.write_bytes(build_bytes(tmp_path)[:3000])
    with pytest.raises(objfile.ObjectFileError):
        objfile.read(half)


def build_bytes(directory: Path) -> bytes:
    path = directory / "other.py"
    path.write_text(GUARD)
    return build_file(path).data


def test_sets_that_can_lose_counts_have_a_counter(tmp_path: Path) -> None:
    path = tmp_path / "audit.py"
    path.write_text(GUARD.replace("return CONTINUE", "trusted[ctx.uid] += 1\n    return CONTINUE"))
    assert LOST in build_file(path).metadata.maps
    path.write_text(GUARD)
    assert LOST not in build_file(path).metadata.maps


@needs_root
def test_the_kernel_accepts_it_as_a_stand_in(guard: Path) -> None:
    built = build_file(guard)
    outcome = verify(built.data, built.metadata)
    if not Path("/sys/kernel/btf/fusebpf").exists():
        assert (outcome.verified, outcome.reason) == ("stand-in", "this kernel has no fuse-bpf")


def test_without_root_nothing_is_verified(guard: Path) -> None:
    if os.geteuid() != 0:
        built = build_file(guard)
        assert verify(built.data, built.metadata).verified == "no"
        return
    built = build_file(guard)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setuid(65534)
            code = 0 if verify(b"", built.metadata).verified == "no" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
