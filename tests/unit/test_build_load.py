# SPDX-License-Identifier: MIT
"""Importing a filter file: what is refused, where the error is, and what is left behind."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fusebpf.build import BuildError, RejectedFileError, load_file
from fusebpf.errors import EXIT_FAILURE, EXIT_REJECTED

SMALLEST = 'from fusebpf import FilterSet\nfilters = FilterSet("one")\n'


def write(directory: Path, text: str | bytes, name: str = "filters.py") -> Path:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path: Path) -> BuildError:
    with pytest.raises(BuildError) as caught:
        load_file(path)
    return caught.value


def test_a_file_is_loaded_with_its_sets(tmp_path: Path) -> None:
    loaded = load_file(write(tmp_path, SMALLEST + 'second = FilterSet("two")\nalias = second\n'))
    assert [entry.name for entry in loaded.sets] == ["one", "two"]
    assert loaded.source.startswith("from fusebpf")
    assert loaded.choose("two").name == "two"


def test_which_set_must_be_said_when_there_are_two(tmp_path: Path) -> None:
    loaded = load_file(write(tmp_path, SMALLEST + 'second = FilterSet("two")\n'))
    with pytest.raises(BuildError, match=r"2 filter sets: one, two\nhelp: .*--name NAME"):
        loaded.choose(None)
    with pytest.raises(BuildError, match="no filter set 'three'"):
        loaded.choose("three")


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    error = refused(write(tmp_path, SMALLEST + 'again = FilterSet("one")\n'))
    assert "two filter sets named 'one'" in str(error)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    missing = refused(tmp_path / "absent.py")
    assert str(missing) == f"{tmp_path / 'absent.py'} does not exist"
    assert missing.exit_code == EXIT_FAILURE
    assert "is a directory" in str(refused(tmp_path))


def test_not_utf8_says_line_and_byte(tmp_path: Path) -> None:
    error = refused(write(tmp_path, b"x = 1\n# \xe9\n"))
    assert isinstance(error, RejectedFileError)
    assert str(error).splitlines()[0].endswith("filters.py:2: byte 0xe9 is not UTF-8")
    assert error.exit_code == EXIT_REJECTED


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_file(tmp_path: Path, text: str) -> None:
    error = refused(write(tmp_path, text))
    assert "is empty" in str(error)
    assert "FilterSet" in (error.help or "")


def test_file_without_a_set(tmp_path: Path) -> None:
    assert "makes no FilterSet" in str(refused(write(tmp_path, "x = 1\n")))


def test_syntax_error_has_place_and_caret(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "x = 1\ndef broken(:\n    pass\n"))
    (found,) = error.diagnostics
    assert (found.line, found.col, found.code) == (2, 12, "E001")
    assert found.end_col > found.col
    assert " 2 | def broken(:" in error.render()
    assert error.exit_code == EXIT_REJECTED


@pytest.mark.parametrize("text", [b"x = 1\0\n", b"(" * 5000 + b")" * 5000 + b"\n"])
def test_text_that_python_cannot_parse_is_an_error_of_ours(tmp_path: Path, text: bytes) -> None:
    assert refused(write(tmp_path, text)).exit_code == EXIT_REJECTED


def test_raise_on_import_shows_the_users_line_only(tmp_path: Path) -> None:
    text = 'def helper(n):\n    return 10 // n\n\n\nlimit = "é" and helper(0)\n'
    error = refused(write(tmp_path, text))
    (found,) = error.diagnostics
    assert found.message == "the file raised ZeroDivisionError: integer division or modulo by zero"
    assert found.line == 2
    assert text.splitlines()[1][found.col - 1 : found.end_col - 1] == "10 // n"
    rendered = error.render()
    assert "Traceback" not in rendered
    assert "fusebpf/build" not in rendered


def test_raise_below_another_module_is_shown_at_the_users_call(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "import json\nx = 1\ndata = json.loads('{')\n"))
    assert error.diagnostics[0].line == 3


def test_exit_on_import_is_an_error_not_an_exit(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "import sys\nsys.exit(3)\n"))
    assert "SystemExit: 3" in error.diagnostics[0].message


def test_interrupt_on_import_stays_an_interrupt(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_file(write(tmp_path, "raise KeyboardInterrupt\n"))


def test_misused_declaration_is_located_with_its_help(tmp_path: Path) -> None:
    text = SMALLEST + "@filters.lookpu.pre\ndef f(ctx, name):\n    pass\n"
    (found,) = refused(write(tmp_path, text)).diagnostics
    assert found.line == 3
    assert "lookpu" in found.message
    assert "lookup" in (found.help or "")


@pytest.mark.parametrize(
    ("line", "message", "help"),
    [
        ('m = filters.hash("m", int, int)', "takes options by name", "key=..., value=..., max_"),
        ("@filters.lookup.pre()", "the decorator pre is called", "leave the () out"),
        ("other = FilterSet()", "FilterSet() lacks 'name'", "name="),
        ("@FilterSet.lookup.pre", "FilterSet is a class", 'FilterSet("name")'),
    ],
)
def test_misused_declaration_says_how_to_write_it(
    tmp_path: Path, line: str, message: str, help: str
) -> None:
    text = f"{SMALLEST}{line}\ndef f(ctx, name):\n    pass\n"
    (found,) = refused(write(tmp_path, text)).diagnostics
    assert found.line == 3
    assert message in found.message
    assert help in (found.help or "")


def test_nothing_is_left_in_the_interpreter(tmp_path: Path) -> None:
    write(tmp_path, "LIMIT = 5\n", "beside_it.py")
    path = write(
        tmp_path,
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport beside_it\n"
        + SMALLEST.replace("from fusebpf", "from fusebpf", 1)
        + "@dataclass\nclass Pair:\n    a: int\nlimit = beside_it.LIMIT\n",
    )
    modules, search = set(sys.modules), list(sys.path)
    assert load_file(path).namespace["limit"] == 5
    assert {
        name for name in set(sys.modules) - modules if "beside" in name or "filters" in name
    } == set()
    assert sys.path == search
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_changed_sibling_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, "LIMIT = 5\n", "beside_it.py")
    path = write(tmp_path, SMALLEST + "import beside_it\nlimit = beside_it.LIMIT\n")
    load_file(path)
    write(tmp_path, "LIMIT = 60\n", "beside_it.py")
    assert load_file(path).namespace["limit"] == 60


def test_threads_load_files_with_siblings_of_one_name(tmp_path: Path) -> None:
    paths = []
    for number in range(24):
        directory = tmp_path / str(number)
        directory.mkdir()
        write(directory, f"NAME = 'set{number}'\n", "sibling.py")
        text = "import sibling\n" + SMALLEST.replace('"one"', "sibling.NAME")
        paths.append(write(directory, text))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            loaded = list(pool.map(load_file, paths))
    finally:
        sys.setswitchinterval(interval)
    assert [entry.sets[0].name for entry in loaded] == [f"set{n}" for n in range(24)]
    assert "sibling" not in sys.modules
