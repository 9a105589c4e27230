# SPDX-License-Identifier: MIT
"""`ls` and `show`: what others attached, what is left over, and the command that mends it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusebpf.runtime import attach, detach, features, sysbpf
from fusebpf.runtime.libbpf import Link
from fusebpf.runtime.load import OPS_MAP, load, open_ops
from fusebpf.runtime.objects import object_of
from tests.unit import json_schemas
from tests.vm import kernelkit as kit
from tests.vm.attach_objects import fusebpf, nothing_left


def listed() -> dict[str, Any]:
    done = fusebpf("ls", "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    json_schemas.check("ls", told)
    return told


@contextmanager
def unmounted_set(guard: Path) -> Iterator[Link]:
    """A loaded set that only our descriptor holds."""
    data, metadata, _path = object_of(guard, None)
    opened, _name = open_ops(data, features.require())
    with opened:
        load(opened, metadata)
        with opened.maps[OPS_MAP].attach_struct_ops() as link:
            yield link


def test_show_tells_the_mount_and_its_maps(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(guard, lower, mnt) as mount:
        mount.maps["trusted"][7] = 1
        told = json.loads(fusebpf("show", "--json", mnt).stdout)
        json_schemas.check("show", told)
        assert told["maps"]["trusted"]["entries"] == {"7": 1}
        assert told["maps"]["hits"]["kind"] == "percpu_array"
        text = fusebpf("show", mnt).stdout.splitlines()
        assert text[0] == f"{mnt}: {lower}, active"
        assert "  lookup_prefilter: hide_keys" in text
        assert text[text.index("trusted (hash):") + 1] == "  7: 1"
        assert listed()["left"] == [], "the mount has it"


def test_what_others_attached_is_shown(lower: Path, mnt: Path) -> None:
    """Filters written in C: no metadata of ours."""
    with kit.filtered(lower, mnt, "lookup_prefilter"):
        (row,) = listed()["mounts"]
        assert (row["state"], row["filter_set"]) == ("active", "")
        assert row["hooks"] == ["lookup_prefilter"]
        text = fusebpf("show", mnt).stdout
        assert "(not built by fusebpf)" in text
        assert "  lookup_prefilter: " in text


def test_set_held_by_a_process(guard: Path) -> None:
    with nothing_left(), unmounted_set(guard) as link:
        # Who asks is no holder: `ls` has copies of our descriptors here.
        (left,) = listed()["left"]
        assert (left["link_id"], left["filter_set"]) == (link.id, "guard")
        (holder,) = left["holders"]
        assert holder["kind"] == "process"
        assert holder["where"].startswith(f"{os.getpid()} (")
        assert (holder["mend"], left["mend"]) == ("", ""), "it may be an attach under way"


def test_pinned_set_and_its_command(guard: Path, tmp_path: Path) -> None:
    bpf_fs = tmp_path / "bpf fs"
    bpf_fs.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", bpf_fs], check=True)
    try:
        with nothing_left():
            with unmounted_set(guard) as link:
                sysbpf.obj_pin(bpf_fs / "kept", link.fd)
                known = f"filter set guard (link {link.id}) has no mount here"
            path = f"{bpf_fs}/kept"
            assert fusebpf("ls").stdout == f"{known}, held by pin {path}: rm '{path}'\n"
            (left,) = listed()["left"]
            assert [holder["kind"] for holder in left["holders"]] == ["pin"]
            subprocess.run(["sh", "-c", left["mend"]], check=True)
    finally:
        subprocess.run(["umount", bpf_fs], check=True)


def test_mount_in_another_namespace(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left():
        attach(guard, lower, mnt).close()
        with subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", "echo up && read end"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "up\n"
            detach(mnt)
            told = listed()
            assert told["mounts"] == []
            (left,) = told["left"]
            assert [holder["kind"] for holder in left["holders"]] == ["namespace"]
            assert left["mend"] == "", "what it confines would not be confined any more"
            said = f"is mounted in the namespace of {other.pid} (sh)\n"
            assert fusebpf("ls").stdout.endswith(said)
            other.communicate("\n")


def test_lazily_detached_and_in_use(guard: Path, lower: Path, mnt: Path) -> None:
    with nothing_left():
        attach(guard, lower, mnt).close()
        with (mnt / "file").open():
            detach(mnt, lazy=True)
            (left,) = listed()["left"]
            assert (left["filter_set"], left["holders"], left["mend"]) == ("guard", [], "")
            assert "taken off lazily" in fusebpf("ls").stdout
