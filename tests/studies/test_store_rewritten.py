"""Attempts that are written anew after they were compacted: amended rows, and rows that arrive late."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from studies.results import compaction, reading
from studies.results.compaction import compact
from studies.results.schema import to_table
from studies.results.settle import stamped
from studies.results.spool import deliver_leftovers, spool_folder
from studies.results.storage import Location
from studies.results.store import ResultStore
from studies.results.verify import verify, wrong
from studies.results.writer import TrialWriter
from tests.studies.stores import SCOPE, Disk, Killed, attempt, breakable_disk, data_files, epoch, learned

RESULT = ["status", "epochs_done", "notes"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))
    store = ResultStore(str(tmp_path / "store"), create=True)
    for number in range(3):
        attempt(store, f"t{number}", {1: 1.0, 2: 2.0}, "pruned", clips=2)
    return store


def squeeze(store: ResultStore) -> None:
    compact(store, pause_seconds=0.0)


def amend(store: ResultStore, notes: str) -> None:
    assert store.amend("s", SCOPE, "t1", {"status": "pruned", "notes": notes}, {}) is not None


def deliver_late(store: ResultStore) -> None:
    """What the trial itself had to say of t1, from the spool of a machine that was cut off."""
    row = {"number": 1, "status": "finished", "epochs_done": 4, "notes": "late"}
    for table, rows in (("trials", [row]), ("epochs", [epoch(n, 10.0 * n) for n in range(1, 5)])):
        path = f"{table}/study=s/scope=synthgym%2Fcore%401pc%230/t1-a1.parquet"
        waiting = spool_folder(store.location) / "store" / path
        waiting.parent.mkdir(parents=True, exist_ok=True)
        waiting.write_bytes(stamped(to_table(table, rows, trial_id="t1", attempt=1), "another", 9))
    assert deliver_leftovers(store.location) == []


def seen(store: ResultStore) -> tuple[list, dict]:
    return store.trials(trial_id="t1")[RESULT].values.tolist(), learned(store)


def at_every_step(store: ResultStore, folder: Path, act: Callable[[ResultStore, Disk, int], None]) -> int:
    """Do something with a copy of the store at each step of its compaction; returns the steps."""
    with breakable_disk() as disk:
        template = shutil.copytree(store.uri, folder / "template")
        disk.start()
        squeeze(store)
        steps = disk.steps
        for step in range(1, steps + 1):
            again = ResultStore(str(shutil.copytree(template, folder / "again")))
            act(again, disk, step)
            shutil.rmtree(again.uri)
    return steps


SLOW = [(False, 1), (False, 2), (True, 0), (True, 1), (True, 2)]


@pytest.mark.parametrize(  # names of files follow from their content: each variant orders them anew
    ("late", "variant"), [(False, 0), *[pytest.param(*one, marks=pytest.mark.slow) for one in SLOW]]
)
def test_what_was_written_anew_holds_wherever_the_next_compaction_is_killed(store, tmp_path, late, variant):
    attempt(store, "t3", {1: float(variant)})
    squeeze(store)
    if late:
        deliver_late(store)
    else:
        amend(store, f"amended {variant}")
    expected = seen(store)
    assert expected[0] == ([["finished", 4, "late"]] if late else [["pruned", 2, f"amended {variant}"]])

    def kill(again: ResultStore, disk: Disk, step: int) -> None:
        disk.start(kill_at=step)
        with pytest.raises(Killed):
            squeeze(again)
        disk.start()
        assert seen(again) == expected, step
        squeeze(again)
        assert seen(again) == expected, step
        assert not wrong(verify(again)) and not any("t1-a1" in path for path in data_files(again))

    assert at_every_step(store, tmp_path, kill) > 5


@pytest.mark.slow
def test_what_was_written_anew_holds_for_readers_and_compactions_within_a_compaction(store, tmp_path):
    squeeze(store)
    deliver_late(store)
    amend_again = {"status": "finished", "notes": "amended"}
    store.amend("s", SCOPE, "t1", amend_again, {})
    expected = seen(store)

    def meanwhile(again: ResultStore, disk: Disk, step: int) -> None:
        def other(now: int) -> None:
            assert seen(ResultStore(again.uri)) == expected
            if now == step:
                squeeze(ResultStore(again.uri))

        disk.start(before=other)
        squeeze(again)
        disk.start()
        assert seen(again) == expected, step

    at_every_step(store, tmp_path, meanwhile)


def test_of_two_compactions_that_joined_different_versions_the_later_version_holds(store, monkeypatch):
    """The second has read what the first had not yet seen; neither knows of the other's file."""
    join, sooner = compaction._join, []

    def join_late(store_: ResultStore, batch, done):
        if not sooner:
            sooner.append(1)  # the first has read all files, and has written none
            monkeypatch.setattr(compaction, "_join", join)
            amend(ResultStore(store.uri), "amended")
            squeeze(ResultStore(store.uri))
        return join(store_, batch, done)

    monkeypatch.setattr(compaction, "_join", join_late)
    squeeze(store)
    assert len([path for path in data_files(store) if path.startswith("trials")]) == 2
    assert seen(store)[0] == [["pruned", 2, "amended"]]
    squeeze(store)
    assert len([path for path in data_files(store) if path.startswith("trials")]) == 1
    assert seen(store)[0] == [["pruned", 2, "amended"]]


def test_rows_that_arrive_late_are_in_sight_wherever_the_compaction_is_killed(store, tmp_path, monkeypatch):
    """They arrive in its pause: each old file is then looked at before it is moved aside."""
    expected = {1: 1.0, 2: 2.0, 3: 3.0}

    def kill(again: ResultStore, disk: Disk, step: int) -> None:
        def late(_: float) -> None:
            disk._busy = True  # no step of the compaction's
            writer = TrialWriter(again, "s", SCOPE, "t1", 1)
            for number in expected:
                writer.epoch(epoch(number, float(number)))
            disk._busy = False
            arrived.append(step)

        arrived: list[int] = []
        monkeypatch.setattr(compaction.time, "sleep", late)
        disk.start(before=lambda _: arrived and check(again))
        disk.kill_at = step
        with suppress(Killed):  # a file that is kept takes no step
            squeeze(again)
        disk.start()
        if arrived:
            check(again)

    def check(again: ResultStore) -> None:
        assert learned(ResultStore(again.uri))["t1"] == expected

    monkeypatch.setattr(compaction.time, "sleep", lambda _: None)
    assert at_every_step(store, tmp_path, kill) > 8


def test_a_file_that_stayed_aside_with_the_only_copy_is_named_and_can_be_renamed_back(store):
    own = Path(store.uri, attempt(store, "t5", {1: 5.0}).path("epochs"))
    aside = own.with_name(f".{own.name}.{'0' * 32}")
    shutil.copy(own, aside)
    os.utime(aside, (0, 0))
    (finding,) = verify(store)
    assert str(finding).endswith("of a process that was killed; delete it")  # the file itself is there
    squeeze(store)
    (finding,) = verify(store)
    assert finding.mend == "delete it"  # or within a compacted one
    TrialWriter(store, "s", SCOPE, "t5", 1, 5).write("epochs", [epoch(1, 5.0), epoch(2, 6.0)])
    own.rename(aside)
    os.utime(aside, (0, 0))
    (finding,) = verify(store)
    assert "temporary file with rows of a trial that no other file has; rename it to t5-a1.parquet" in str(finding)
    aside.rename(own)
    assert learned(store)["t5"] == {1: 5.0, 2: 6.0}


def test_of_two_slow_listings_the_first_counts(store, monkeypatch):
    """Listings page by page in the order of names, as S3 has them; a compaction passes within the second."""
    expected, files, listings = learned(store), Location.files, []
    monkeypatch.setattr(reading, "LISTING_SECONDS", 0.0)  # every listing is slow

    def paged(self: Location, folder: str = "") -> list[str]:
        if not listings or folder != "epochs":
            listings.append(folder)
            return files(self, folder)
        listings.append(folder)
        first_page = [path for path in files(self, folder) if "/compact-" in path]
        if len(listings) == 2:
            monkeypatch.setattr(Location, "files", files)
            squeeze(ResultStore(store.uri))
            monkeypatch.setattr(Location, "files", paged)
        return first_page + [path for path in files(self, folder) if "/compact-" not in path]

    monkeypatch.setattr(Location, "files", paged)
    assert learned(ResultStore(store.uri)) == expected and len(listings) > 2


def test_listings_that_never_agree_are_an_error(store, monkeypatch):
    monkeypatch.setattr(reading, "LISTING_SECONDS", 0.0)
    counts = iter(range(1000))
    monkeypatch.setattr(Location, "files", lambda self, folder="": [f"{folder}/compact-{next(counts):032x}.parquet"])
    with pytest.raises(reading.StoreError, match="/epochs: compacted faster than it can be listed; try again when"):
        store.epochs()
    assert next(counts) == reading.MOST_TRIES
