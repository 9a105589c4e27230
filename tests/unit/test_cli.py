# SPDX-License-Identifier: MIT
"""The command line: exit codes, messages, and what is left behind."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from fusebpf.abi import ABI_VERSION
from fusebpf.build.clang import compile_c, find_clang
from fusebpf.build.metadata import HookMeta, Metadata, c_trailer
from fusebpf.cli import _COMMANDS, cli, run
from fusebpf.runtime import features, mountinfo
from tests.unit import json_schemas
from tests.unit.ordinary import as_nobody
from tests.unit.runtime_objects import needs_root
from tests.unit.test_build_object import GUARD

HERE = features.probe() is not None
without_fuse_bpf = pytest.mark.skipif(HERE, reason="this kernel has fuse-bpf")


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSEBPF_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (tmp_path / "guard.py").write_text(GUARD)


def program(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the CLI as a process of its own."""
    command = [sys.executable, "-m", "fusebpf.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload,no-any-return]


def test_every_command_is_there_and_has_help() -> None:
    for name in _COMMANDS:
        found = cli.get_command(None, name)  # type: ignore[arg-type]
        assert found is not None, name
        assert found.help


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from fusebpf.cli import run; run(['--help']);"
        "print([m for m in sys.modules if m.split('.')[0] in ('rich', 'elftools', 'ctypes', 'bcc')"
        " or m.startswith(('fusebpf.compiler', 'fusebpf.runtime', 'fusebpf.dsl'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "attach" in done.stdout


@pytest.mark.parametrize("arguments", [["frobnicate"], ["attach"], ["ls", "--frob"], ["check"]])
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "Error: " in capsys.readouterr().err


def test_compile_writes_an_object_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "../guard.py"]) == 0
    assert capsys.readouterr().out == "guard.bpf.o: set guard, 2 filters, 2 maps\n"
    assert Path("guard.bpf.o").read_bytes()[:4] == b"\x7fELF"
    assert [path.name for path in Path().iterdir()] == ["guard.bpf.o"]


def test_compile_counts_what_the_file_declares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the maps in which the object counts what was lost."""
    (tmp_path / "counted.py").write_text(
        "from dataclasses import dataclass\n"
        "from fusebpf import Context, FilterSet, Name\n"
        "from fusebpf.types import u32, u64\n"
        "filters = FilterSet('counted')\n"
        "asked = filters.hash('asked', key=u32, value=u64, max_entries=8)\n"
        "@dataclass\nclass Asked:\n    uid: u32\n"
        "told = filters.events('told', Asked)\n"
        "@filters.lookup.pre\n"
        "def look(ctx: Context, name: Name):\n"
        "    asked[ctx.uid] += 1\n"
        "    told.emit(Asked(ctx.uid))\n"
    )
    assert run(["compile", str(tmp_path / "counted.py"), "-o", str(tmp_path / "x.o")]) == 0
    said = capsys.readouterr().out
    assert said == f"{tmp_path}/x.o: set counted, 1 filter, 1 map, 1 kind of event\n"


def test_compile_to_a_name_and_to_stdout(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["compile", "../guard.py", "-o", "out.o"]) == 0
    capfdbinary.readouterr()
    assert run(["compile", "../guard.py", "-o", "-"]) == 0
    assert capfdbinary.readouterr().out == Path("out.o").read_bytes()


def test_emit_c_shows_the_c_without_clang(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSEBPF_CLANG", "/no/clang")
    assert run(["compile", "../guard.py", "--emit", "c"]) == 0
    out = capsys.readouterr().out
    assert "FUSEBPF_LOOKUP_PREFILTER" in out
    assert '"guard.py"' in out


def test_output_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "../guard.py", "-o", "no/such/dir/out.o"]) == 1
    assert "cannot write no/such/dir/out.o" in capsys.readouterr().err


def test_a_device_is_written_to_not_replaced() -> None:
    assert run(["compile", "../guard.py", "-o", "/dev/null"]) == 0
    assert Path("/dev/null").is_char_device()


def test_links_are_written_through_and_the_source_is_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("link.o").symlink_to("real.o")
    assert run(["compile", "../guard.py", "-o", "link.o"]) == 0
    assert Path("link.o").is_symlink()
    assert Path("real.o").read_bytes().startswith(b"\x7fELF")
    source = Path("../guard.py").read_text()
    assert run(["compile", "../guard.py", "--emit", "c", "-o", "../guard.py"]) == 2
    assert "is the filter file itself" in capsys.readouterr().err
    assert Path("../guard.py").read_text() == source


def test_a_redirected_stdout_may_be_named() -> None:
    """/dev/stdout leads to the file then, and must not be replaced for the whole machine."""
    Path("stdout").symlink_to("/proc/self/fd/1")
    with open("x.o", "wb") as out:
        command = [sys.executable, "-m", "fusebpf.cli", "compile", "../guard.py", "-o", "stdout"]
        subprocess.run(command, stdout=out, check=True)
    assert run(["compile", "../guard.py", "-o", "y.o"]) == 0
    assert Path("x.o").read_bytes() == Path("y.o").read_bytes()
    assert Path("stdout").readlink() == Path("/proc/self/fd/1")


def test_a_name_of_any_bytes_is_told(tmp_path: Path) -> None:
    name = os.fsdecode(b"od\xe9.py")
    (tmp_path / name).write_text(GUARD)

    def told(*arguments: str) -> str:
        command = [sys.executable, "-m", "fusebpf.cli", *arguments, name]
        # As in most locales; that of C prints the bytes.
        env = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert told("compile").startswith(r"od\udce9.bpf.o: set ")
    assert (tmp_path / os.fsdecode(b"od\xe9.bpf.o")).exists()
    assert told("check").startswith(r"od\udce9.py: set ")
    assert json.loads(told("compile", "--json"))["object"] == os.fsdecode(b"od\xe9.bpf.o")
    assert json.loads(told("check", "--json"))["checked"]["file"] == name


@pytest.mark.parametrize(
    ("command", "status"),
    [(["ls"], 0), (["guard", "explain", "--rules", "no/such", "x"], 1), (["no-command"], 2)],
)
@pytest.mark.parametrize("closed", ["0<&- 1>&- 2>&-", "1>&-", "2>&-"])
def test_closed_outputs_change_no_status(command: list[str], status: int, closed: str) -> None:
    line = f'exec "$@" {closed}'
    arguments = [sys.executable, "-m", "fusebpf.cli", *command]
    done = subprocess.run(["sh", "-c", line, "sh", *arguments], capture_output=True, text=True)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "fusebpf.cli", "compile", "../guard.py", "--emit", "c"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device\n"


def test_rejected_filters_are_3_with_all_their_errors(capsys: pytest.CaptureFixture[str]) -> None:
    text = GUARD.replace("return -ENOENT", "return ENOENT").replace("-EROFS", "EROFS")
    Path("bad.py").write_text(text)
    for arguments in (["compile", "bad.py"], ["check", "bad.py"]):
        assert run(arguments) == 3
        err = capsys.readouterr().err
        assert err.count("bad.py:") >= 2
        assert "^" in err
        assert "help: " in err
        assert "\x1b" not in err, "colour only on a terminal"
        assert err.rstrip().endswith("error: bad.py: 2 errors")
    assert [path.name for path in Path().iterdir()] == ["bad.py"]


@pytest.mark.parametrize("no_colour", [False, True])
def test_colour_on_a_terminal_unless_unwanted(no_colour: bool) -> None:
    Path("bad.py").write_text(GUARD.replace("return -ENOENT", "return ENOENT"))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "1"} if no_colour else dict(os.environ)
    command = [sys.executable, "-m", "fusebpf.cli", "compile", "bad.py"]
    done = subprocess.run(command, stderr=theirs, env=environment)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 3
    assert ("\x1b[" in shown) is not no_colour
    assert "^^^" in shown


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", 3, "is empty"),
        (b"\xff\xfe", 3, "is not UTF-8"),
        (b"\x7fELF\xf7", 1, "name the Python file that it was compiled from"),
        (b"1 / 0\n", 3, "ZeroDivisionError"),
        (None, 1, "does not exist"),
    ],
)
def test_files_that_are_no_filters(
    content: bytes | None, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        Path("odd.py").write_bytes(content)
    assert run(["compile", "odd.py"]) == code
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["check", "compile"])
def test_which_set_is_a_question_of_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("two.py").write_text(
        "from fusebpf import CONTINUE, FilterSet\n"
        "one, two = FilterSet('one'), FilterSet('two')\n"
        "@one.open.pre\ndef a(ctx, req):\n    return CONTINUE\n"
        "@two.open.pre\ndef b(ctx, req):\n    return CONTINUE\n"
    )
    assert run([command, "two.py"]) == 2
    assert "has 2 filter sets: one, two\nhelp: name one" in capsys.readouterr().err
    assert run([command, "two.py", "--name", "three"]) == 2
    assert "it has: one, two" in capsys.readouterr().err


def test_missing_clang_is_1_and_names_the_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert run(["compile", "../guard.py"]) == 1
    assert "apt-get install clang" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@needs_root
@without_fuse_bpf
def test_check_says_as_what_it_was_verified(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "../guard.py"]) == 0
    out = capsys.readouterr().out
    assert out == (
        "../guard.py: set guard, 2 filters: verified as a stand-in (this kernel has no fuse-bpf)\n"
    )


@needs_root
def test_check_takes_an_object_and_shows_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    meta = Metadata(
        "odd", ABI_VERSION, "odd.py", "0", (HookMeta("h", "wild", 7, "wild"),), (), "", ""
    )
    source = '#include "fusebpf.h"\nFUSEBPF_LOOKUP_PREFILTER(wild, ctx, name)\n{\n'
    source += "return *(int *)(ctx->nodeid + name->len);\n}\n"
    source += 'FUSEBPF_OPS("odd", .lookup_prefilter = FUSEBPF_PROG(wild))\n' + c_trailer(meta)
    path = tmp_path / "odd.o"
    path.write_bytes(compile_c(find_clang(), source, tmp_path))
    assert run(["check", str(path), "--name", "even"]) == 2
    assert "has no filter set 'even'\nhelp: it has: odd" in capfd.readouterr().err
    assert run(["check", str(path)]) == 3
    short = capfd.readouterr().err
    assert short.startswith("error: odd.py:7: filter wild: the kernel's verifier refused it: ")
    assert "processed " not in short
    assert run(["check", "--verbose", str(path)]) == 3
    assert "processed " in capfd.readouterr().err
    assert run(["check", "--json", str(path)]) == 3
    told = json.loads(capfd.readouterr().out)
    json_schemas.check("check", told)
    assert told["error"].startswith("odd.py:7: filter wild: the kernel's verifier refused it: ")


@needs_root
def test_check_without_root_says_it_was_not_verified(tmp_path: Path) -> None:
    done = as_nobody(tmp_path, "check", tmp_path / "guard.py")
    assert done.returncode == 0, done.stderr
    assert "compiled, not verified (loading BPF programs needs root)" in done.stdout


@needs_root
def test_attach_and_detach_need_root(tmp_path: Path) -> None:
    done = as_nobody(tmp_path, "attach", "x.py", "/srv", "/mnt")
    assert done.returncode == 5
    assert done.stderr == "error: attach needs root\nhelp: run it as root, e.g. with sudo\n"


@needs_root
@without_fuse_bpf
def test_kernel_without_fuse_bpf_is_4_with_both_ways_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mnt").mkdir()
    before = mountinfo.entries()
    assert run(["attach", "../guard.py", str(tmp_path), str(tmp_path / "mnt")]) == 4
    err = capsys.readouterr().err
    assert "has no fuse-bpf" in err
    assert "make -s module KVER=" in err
    assert "fusebpf vm run -- " in err
    assert mountinfo.entries() == before


def test_paths_that_cannot_be_mounted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    there, absent, file = (str(tmp_path), str(tmp_path / "absent"), str(tmp_path / "file"))
    before = mountinfo.entries()
    for lower, mountpoint, words in (
        (absent, there, f"lower directory {absent} does not exist"),
        (file, there, f"lower directory {file} is not a directory"),
        (there, absent, f"mount point {absent} does not exist"),
        (there, file, f"mount point {file} is not a directory"),
    ):
        assert run(["attach", "../guard.py", lower, mountpoint]) == 1
        assert words in capsys.readouterr().err
    assert mountinfo.entries() == before


def test_detach_of_what_is_no_mount_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["detach", str(tmp_path)]) == 2
    assert f"{tmp_path} is not a mount point, not a fuse-bpf mount" in capsys.readouterr().err
    assert run(["detach", "/proc"]) == 2
    assert "/proc is a mount of type proc" in capsys.readouterr().err
    assert run(["detach", str(tmp_path / "absent")]) == 1
    assert "cannot reach" in capsys.readouterr().err
    assert run(["show", str(tmp_path)]) == 2


@pytest.mark.skipif(HERE, reason="mounts of other tests may be there")
def test_ls_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ls"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"mounts": [], "left": []}


def test_a_reader_that_left_is_no_traceback() -> None:
    command = f"{sys.executable} -m fusebpf.cli compile ../guard.py --emit c | head -c 0"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""


def test_version() -> None:
    done = program("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "fusebpf")


def test_a_name_that_can_be_no_file_of_filters(capsys: pytest.CaptureFixture[str]) -> None:
    for name, words in (("año", "e.g. a_o"), ("my-filter", "e.g. my_filter"), ("os", "e.g. my_os")):
        assert run(["new", name]) == 2
        assert words in capsys.readouterr().err
    assert run(["new", "ü"]) == 2
    assert "e.g." not in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_new_names_its_files_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x", "notes", "a_longer_name"):
        assert run(["new", name]) == 0
        first, second, third, _ = capsys.readouterr().out.splitlines()
        places = {first.index("the f"), second.index("its t"), third.index("settings")}
        assert len(places) == 1
