# SPDX-License-Identifier: MIT
"""What a mount's filters do, watched from outside: `events`, `stats`, `top`."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from fusebpf.build import build_file
from fusebpf.errors import UsageError
from fusebpf.runtime import attach, detach, features, following, replace
from fusebpf.runtime.following import Follower
from fusebpf.runtime.stats import Meter
from tests.unit import json_schemas
from tests.vm.attach_objects import FORK, fusebpf, nothing_left, running, started
from tests.vm.limits import eventually

EVENTS = int(os.environ.get("FUSEBPF_EVENTS", "4000"))

OPENED = """from dataclasses import dataclass

from fusebpf import Context, FilterSet, Name, OpenIn
from fusebpf.constants import ENOENT
from fusebpf.types import bytes64, u32

filters = FilterSet("SET")

@dataclass
class Opened:
    uid: u32
    flags: u32

opened = filters.events("opened", Opened, size=SIZE)

@filters.open.pre
def note_opened(ctx: Context, req: OpenIn):
    opened.emit(Opened(uid=ctx.uid, flags=req.flags))
"""

# The ring of names holds 56 events.
SOUGHT = """
@dataclass
class Sought:
    name: bytes64

sought = filters.events("sought", Sought, size=4096)

@filters.lookup.pre
def note_sought(ctx: Context, name: Name):
    if name.startswith("odd"):
        sought.emit(Sought(name=name))
        return -ENOENT
"""

FILTERS = OPENED.replace("SET", "watched").replace("SIZE", "4096") + SOUGHT

# A replacement does not keep a ring of another size: a reader has to open the new one.
OTHER = OPENED.replace("SET", "other").replace("SIZE", "8192")


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The objects of FILTERS and OTHER."""
    directory = tmp_path_factory.mktemp("watch")
    for name, text in (("watched", FILTERS), ("other", OTHER)):
        (directory / f"{name}.py").write_text(text)
    watched, other = (build_file(directory / f"{n}.py").path for n in ("watched", "other"))
    return watched, other


@pytest.fixture
def watched(objects: tuple[Path, Path]) -> Path:
    """The object of FILTERS."""
    return objects[0]


@pytest.fixture
def other(objects: tuple[Path, Path]) -> Path:
    """The object of OTHER."""
    return objects[1]


def seek(mnt: Path, number: int) -> None:
    """Look for so many names that the filters hide and tell of."""
    for at in range(number):
        assert not (mnt / f"odd{at}").exists()


def send(mnt: Path, first: int, number: int) -> None:
    """Have the filters send so many events, as fast as one process can."""
    os.chdir(mnt)
    for at in range(first, first + number):
        os.access(f"odd{at}", os.F_OK)


def printed(text: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        json_schemas.check("events", line)
    return lines


def test_events_that_wait_are_printed(watched: Path, lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(watched, lower, mnt):
        (mnt / "file").read_text()
        assert not os.path.exists(os.fsencode(mnt) + b"/odd\xff\n")
        shown = fusebpf("events", "--for", "0", "--json", mnt)
        assert shown.returncode == 0, shown.stderr
        *events, last = printed(shown.stdout)
        assert last == {"dropped": {"opened": 0, "sought": 0}}
        assert events[0]["event"] == "opened"
        assert events[0]["fields"]["uid"] == os.getuid()  # type: ignore[index]
        assert events[-1] == {"event": "sought", "fields": {"name": "odd\udcff\n"}}
        assert not os.path.exists(mnt / "odd\nname")
        for _ in range(2):
            (mnt / "file").read_text()
        shown = fusebpf("events", "--for", "0", "--kind", "sought", mnt)
        assert (shown.stdout, shown.stderr) == ("sought name=odd\\nname\n", "")
        shown = fusebpf("events", "--count", "1", mnt)
        assert re.fullmatch(r"opened uid=0 flags=\d+\n", shown.stdout)
        with Follower(mnt) as follower:
            assert [kind for kind, _event in follower.read()] == ["opened"], "the other one"


def test_those_lost_are_counted(watched: Path, lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(watched, lower, mnt):
        seek(mnt, 80)
        shown = fusebpf("events", "--for", "0", mnt)
        lost = 80 - len(shown.stdout.splitlines())
        assert lost > 0
        assert shown.stderr == f"sought: {lost} events lost, as the ring was full\n"


@pytest.mark.timeout(0 if "FUSEBPF_EVENTS" in os.environ else 600)
def test_delivered_and_dropped_are_those_sent(watched: Path, lower: Path, mnt: Path) -> None:
    """At full speed, from two processes, with a reader that begins when the ring has run over."""
    each = EVENTS // 2
    with nothing_left(), attach(watched, lower, mnt) as mount, Follower(mnt, ["sought"]) as reader:
        senders = [FORK.Process(target=send, args=(mnt, first, each)) for first in (0, each)]
        for sender in senders:
            sender.start()
        assert eventually(lambda: mount.events["sought"].dropped > 0)
        got = [0, 0]
        last = [-1, -1]
        ended = False
        while not ended:
            # Asked before the ring is emptied: what is sent until then is in it
            ended = all(sender.exitcode is not None for sender in senders)
            for _kind, event in reader.read():
                number = int(event.name.removeprefix(b"odd"))
                of = number // each
                assert number > last[of], "each once, oldest first"
                got[of], last[of] = got[of] + 1, number
        assert [sender.exitcode for sender in senders] == [0, 0]
        for sender in senders:
            sender.close()
        dropped = mount.events["sought"].dropped
        assert min(sum(got), dropped) > 0
        assert sum(got) + dropped == 2 * each
        print(f"{2 * each} events: {sum(got)} delivered, {dropped} dropped")


def test_an_interrupted_reader_loses_none(watched: Path, lower: Path, mnt: Path) -> None:
    """Readers come and go; all events together are those sent."""
    with nothing_left(), attach(watched, lower, mnt):
        with running("events", "--json", mnt) as (reader, out):
            seek(mnt, 20)
            got = [out.readline()]
            assert reader.pid is not None
            os.kill(reader.pid, signal.SIGINT)
            got.extend(out)
        seek(mnt, 20)
        *events, last = printed("".join(got))
        assert last["dropped"] == {"opened": 0, "sought": 0}
        with Follower(mnt) as follower:
            assert len(events) + len(follower.read()) == 40


def test_a_reader_that_is_told_to_end_loses_none(watched: Path, lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(watched, lower, mnt):
        ours, theirs = os.pipe()
        reader = started(("events", "--json", mnt), theirs, theirs)
        os.close(theirs)
        with os.fdopen(ours) as out:
            seek(mnt, 20)
            got = [out.readline()]
            assert reader.pid is not None
            os.kill(reader.pid, signal.SIGTERM)
            got.extend(out)
        reader.join()
        assert reader.exitcode == -signal.SIGTERM
        reader.close()
        *events, last = printed("".join(got))
        assert last["dropped"] == {"opened": 0, "sought": 0}
        with Follower(mnt) as follower:
            assert len(events) + len(follower.read()) == 20


def test_a_reader_goes_on_over_a_replacement_and_ends_with_the_mount(
    watched: Path, other: Path, lower: Path, mnt: Path
) -> None:
    arguments = ("events", "--kind", "opened", mnt)
    with nothing_left(), attach(watched, lower, mnt), running(*arguments) as (_reader, out):
        (mnt / "file").read_text()
        assert out.readline().startswith("opened uid=0 ")
        assert "opened" in replace(mnt, other).lost
        (mnt / "file").read_text()
        assert out.readline().startswith("opened uid=0 ")
        detach(mnt)
        assert out.read() == ""


def test_what_waits_at_a_replacement_is_read(
    watched: Path, other: Path, lower: Path, mnt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0)
    with nothing_left(), attach(watched, lower, mnt), Follower(mnt, ["opened"]) as follower:
        batches = follower.follow(20, 3)
        (mnt / "file").read_text()
        assert len(next(batches)) == 1
        (mnt / "file").read_text()
        replace(mnt, other)
        (mnt / "file").read_text()
        assert sum(map(len, batches)) == 2


def test_events_of_other_kinds_do_not_wake_a_reader(watched: Path, lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(watched, lower, mnt), Follower(mnt, ["sought"]) as follower:
        (mnt / "file").read_text()
        rounds = 0

        def counted() -> bool:
            nonlocal rounds
            rounds += 1
            return False

        began = time.monotonic()
        assert list(follower.follow(1.2, stopped=counted)) == []
        assert time.monotonic() - began >= 1.2
        assert rounds <= 5


def test_events_that_are_not_there(watched: Path, lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(watched, lower, mnt):
        done = fusebpf("events", "--kind", "closed", mnt)
        assert done.returncode == 2
        assert "have no events 'closed'" in done.stderr
        assert "their events: opened, sought" in done.stderr
        with pytest.raises(UsageError, match="is not a fuse-bpf mount"):
            Follower(lower)


def test_stats_count_each_run(watched: Path, other: Path, lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(watched, lower, mnt) as mount:
        with Meter(features.require()) as meter:
            assert all(row.calls == 0 for row in meter.read(mount.link_id))
            for _ in range(50):
                (mnt / "file").read_text()
            rows = {row.hook: row for row in meter.read(mount.link_id)}
        assert (rows["open_prefilter"].calls, rows["open_prefilter"].filter) == (50, "note_opened")
        assert 10 < rows["open_prefilter"].per_call < 10_000_000
        (mnt / "file").read_text()
        with Meter(features.require()) as meter:
            meter.read(mount.link_id)
            replace(mnt, other)
            (mnt / "file").read_text()
            (row,) = meter.read(mount.link_id)
            assert row.calls == 1, "runs since the replacement are counted"


def test_stats_of_a_mount_in_use(watched: Path, lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(watched, lower, mnt):
        opens = 0
        with running("stats", "--for", "0.5", "--json", mnt) as (counter, out):
            while counter.exitcode is None:
                (mnt / "file").read_text()
                opens += 1
            told = json.load(out)
        json_schemas.check("stats", told)
        rows = {row["hook"]: row for row in told["hooks"]}
        assert 0 < rows["open_prefilter"]["calls"] <= opens
        head, *lines = fusebpf("stats", "--for", "0.1", mnt).stdout.splitlines()
        assert head.split() == ["HOOK", "FILTER", "CALLS", "NS/CALL"]
        assert {line.split()[0] for line in lines} == {"open_prefilter", "lookup_prefilter"}


def test_top_plain_and_json(watched: Path, lower: Path, mnt: Path) -> None:
    with nothing_left(), attach(watched, lower, mnt):
        plain = fusebpf("top", "--interval", "0.1", "--count", "2").stdout
        assert plain.count("MOUNTPOINT") == 2
        assert "\x1b" not in plain
        assert re.search(rf"^{re.escape(str(mnt))} +open_prefilter +note_opened ", plain, re.M)
        (line,) = fusebpf("top", "--count", "1", "--json", mnt).stdout.splitlines()
        json_schemas.check("top", json.loads(line))
