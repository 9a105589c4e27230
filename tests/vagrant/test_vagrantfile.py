# SPDX-License-Identifier: MIT
"""What Vagrant takes from the Vagrantfile, with made-up boxes and neither machine nor libvirt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.vagrant.conftest import TREE

NOBODY = 65534


@dataclass(frozen=True)
class Place:
    """A tree with the Vagrantfile alone, and a cache."""

    top: Path

    def make_box(self, name: str, number: int) -> Path:
        """Make a box, as `make vagrant-box` does, and lead build/vagrant to it."""
        box = self.top / f"cache/box-{name}-{number}"
        box.mkdir(parents=True)
        files = (
            ("box", "key", "kernel") if name == "patched" else ("box", "key", "kernel", "initrd")
        )
        for file in files:
            (box / file).write_text(f"{file} {number}")
            (box / file).chmod(0o600)
        link = self.top / "build/vagrant" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        (link.parent / "driver").write_text("qemu")
        link.unlink(missing_ok=True)
        link.symlink_to(box)
        return box

    def read(self, *before: str, uid: int = 0) -> subprocess.CompletedProcess[str]:
        """Have Vagrant read the Vagrantfile."""
        env = {**os.environ, "VAGRANT_HOME": str(self.top / "home")}
        env.pop("VAGRANT_DOTFILE_PATH", None)
        script = Path(__file__).with_name("vagrantfile.rb")
        return subprocess.run(
            ["ruby", "-", self.top / "vagrant", *before],
            input=script.read_text(),  # another user may not come as far as this tree
            env=env,
            capture_output=True,
            text=True,
            check=False,
            user=uid,
        )

    def machines(self, *before: str) -> dict[str, dict[str, Any]]:
        """Return what each machine is made of."""
        done = self.read(*before)
        assert done.returncode == 0, done.stderr
        found: dict[str, dict[str, Any]] = json.loads(done.stdout)
        return found

    def bring_up(self, name: str) -> None:
        """What `vagrant up` leaves: what our trigger does, and then the domain's UUID."""
        self.machines("up")
        (self.known(name) / "id").write_text("the UUID of a domain")

    def known(self, name: str) -> Path:
        """Return where Vagrant keeps what it knows of a machine, until `vagrant destroy`."""
        return self.top / "vagrant/.vagrant/machines" / name / "libvirt"

    def kept(self, name: str) -> Path:
        """Return where a machine keeps what it needs of its box."""
        return self.top / "vagrant/.vagrant/fusebpf" / name


def place_in(top: Path) -> Place:
    """Return a tree without a box."""
    (top / "vagrant").mkdir()
    shutil.copy(TREE / "vagrant/Vagrantfile", top / "vagrant")
    return Place(top)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A tree without a box."""
    return place_in(tmp_path)


@pytest.fixture
def open_place() -> Iterator[Place]:
    """A tree where others may come, as not into every clone."""
    with TemporaryDirectory(dir="/run", prefix="fusebpf-") as top:
        Path(top).chmod(0o755)
        yield place_in(Path(top))


@pytest.mark.parametrize("name", ["patched", "stock"])
def test_a_machine_keeps_its_box_when_a_newer_one_is_made(place: Place, name: str) -> None:
    place.make_box(name, 1)
    first = place.machines()[name]
    place.bring_up(name)
    place.make_box(name, 2)
    then = place.machines("up")[name]  # up again, after a halt
    assert Path(then["key"]).read_text() == "key 1"
    assert Path(then["key"]).stat().st_mode & 0o777 == 0o600
    for same in ("box", "kernel", "initrd", "driver"):
        assert then[same] == first[same], same
    assert Path(then["key"]).with_name("kernel").read_text() == "kernel 1"

    shutil.rmtree(place.known(name))  # what `vagrant destroy` does
    assert place.kept(name).is_dir()
    now = place.machines("destroy")[name]
    assert not place.kept(name).exists()
    assert Path(now["key"]).read_text() == "key 2"
    assert now["kernel"] != first["kernel"]


def test_a_machine_needs_neither_cache_nor_build(place: Place) -> None:
    place.make_box("stock", 1)
    first = place.machines()["stock"]
    place.bring_up("stock")
    shutil.rmtree(place.top / "cache")
    shutil.rmtree(place.top / "build")
    then = place.machines()["stock"]
    assert Path(then["key"]).read_text() == "key 1"
    assert {**then, "key": ""} == {**first, "key": ""}


def test_a_machine_whose_domain_is_gone_comes_up_of_its_box(place: Place) -> None:
    place.make_box("stock", 1)
    place.bring_up("stock")
    place.make_box("stock", 2)
    then = place.machines("up", "gone")["stock"]
    assert Path(then["key"]).read_text() == "key 1"
    assert place.machines()["stock"]["kernel"] == then["kernel"]


def test_the_pool_is_kept_for_a_machine_before_it_is_filled(place: Place) -> None:
    place.make_box("patched", 1)
    place.make_box("stock", 1)
    assert [machine["coming_up"] for machine in place.machines().values()] == [False, False]
    for machine in place.machines("up").values():
        assert machine["coming_up"]
        keeps, fills = machine["then"]
        assert keeps is None
        assert fills[0] == "fill"


def test_an_up_that_made_no_machine_binds_to_no_box(place: Place) -> None:
    place.make_box("stock", 1)
    place.machines("up")
    place.make_box("stock", 2)
    assert Path(place.machines()["stock"]["key"]).read_text() == "key 2"
    place.bring_up("stock")
    assert Path(place.machines()["stock"]["key"]).read_text() == "key 2"


def test_without_a_box_it_says_what_makes_one(place: Place) -> None:
    done = place.read()
    assert done.returncode != 0
    assert "run `make vagrant-box` as root" in done.stderr


@pytest.mark.parametrize("hidden", ["cache", "cache/box-stock-1/key"])
def test_where_only_root_may_read_the_box_it_says_so(open_place: Place, hidden: str) -> None:
    place = open_place
    place.make_box("stock", 1)
    (place.top / "cache/box-stock-1/key").chmod(0o644)
    (place.top / "home").mkdir()
    os.chown(place.top / "home", NOBODY, NOBODY)
    os.chown(place.top / "vagrant", NOBODY, NOBODY)
    (place.top / hidden).chmod(0o700)
    done = place.read(uid=NOBODY)
    assert done.returncode != 0
    assert "run vagrant as root" in done.stderr
    assert "stock" in done.stderr
