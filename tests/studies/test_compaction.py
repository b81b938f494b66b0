"""Compaction: fewer files, the same rows, whatever else happens in between."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from sefar.errors import StoreError
from sefar.recipes import recipe
from studies.engine.history import read_history
from studies.engine.space import SCOPE_SWEEP
from studies.engine.spec import Axis, Study
from studies.engine.trial_run import RunSettings, TrialRun
from studies.results import spool
from studies.results.compaction import compact
from studies.results.schema import TABLES
from studies.results.spool import deliver_leftovers, spool_folder
from studies.results.storage import Location
from studies.results.store import MARKER, ResultStore
from studies.results.store_files import StoreFile
from studies.results.verify import verify
from tests.studies.stores import OTHER, SCOPE, Killed, attempt, breakable_disk, data_files, epoch, learned


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(spool, "_kept", {})
    monkeypatch.setattr(spool, "_next_try", {})
    store = ResultStore(str(tmp_path / "store"), create=True)
    attempt(store, "t0", {1: 10.0, 2: 20.0}, clips=3, **{"config.kind": "none", "config.depth": 2})
    attempt(store, "t1", {1: 11.0, 2: 12.0, 3: 13.0}, "running", clips=3)  # interrupted in its fourth epoch
    attempt(store, "t1", {3: 23.0, 4: 24.0}, clips=2, **{"config.rate": 0.5})
    attempt(store, "t2", {1: 5.0}, "running")
    attempt(store, "t3", {1: 6.0, 2: 7.0}, "pruned", scope=OTHER)
    attempt(store, "t4", {}, "failed", scope=OTHER, error="clip does not decode")
    return store


FX = "synthgym/event:FX@1pc#0"
EPOCHS = {
    **{"t0": {1: 10.0, 2: 20.0}, "t1": {1: 11.0, 2: 12.0, 3: 23.0, 4: 24.0}, "t2": {1: 5.0}},
    "t3": {1: 6.0, 2: 7.0},
}


def squeeze(store: ResultStore) -> None:
    compact(store, pause_seconds=0.0)


def tables(store: ResultStore) -> dict[str, pd.DataFrame]:
    return {table: store.read(table) for table in TABLES}


def assert_same(now: dict[str, pd.DataFrame], before: dict[str, pd.DataFrame]) -> None:
    for table in TABLES:
        pd.testing.assert_frame_equal(now[table], before[table], check_exact=True)


def test_readers_see_the_same_rows_in_fewer_files(store):
    before, files = tables(store), data_files(store)
    done = compact(store, pause_seconds=0.0)
    assert_same(tables(store), before)
    assert learned(store) == EPOCHS and store.problems() == []
    left = [StoreFile.parse(path) for path in data_files(store)]
    # of FX only one trial has epochs, in one file: nothing to join
    assert [(f.table, f.scope, f.trial_id) for f in left if not f.compacted] == [
        *[("epochs", SCOPE, "t2"), ("epochs", OTHER, "t3"), ("trials", SCOPE, "t2")]
    ]
    assert sorted((f.table, f.scope) for f in left if f.compacted) == [
        *[("epochs", SCOPE), ("predictions", SCOPE), ("trials", SCOPE), ("trials", OTHER)]
    ]
    assert (done.joined, done.written, done.under_way, done.kept) == (len(files) - 3, 4, 1, 0)
    assert not list(Path(store.uri).rglob(".*")) and list(verify(store)) == []
    names = data_files(store)
    assert compact(store, pause_seconds=0.0).joined == 0 and data_files(store) == names


def test_an_epoch_that_only_an_older_attempt_holds_stays_and_replaced_ones_go(store):
    squeeze(store)
    rows = store.epochs(trial_id="t1", all_attempts=True)
    assert rows[["epoch", "attempt"]].values.tolist() == [[1, 1], [2, 1], [3, 2], [4, 2]]
    assert store.predictions(trial_id="t1", all_attempts=True).attempt.tolist() == [2, 2]
    assert store.trials(trial_id="t1", all_attempts=True).attempt.tolist() == [2]


def test_partitions_columns_and_trials_are_pruned_in_compacted_files_too(store, monkeypatch):
    squeeze(store)
    read = []
    whole = Location.read
    monkeypatch.setattr(Location, "read", lambda self, name, **more: (read.append(name), whole(self, name, **more))[1])
    rows = store.epochs(study="s", scope=SCOPE, trial_id="t1", columns=["step"])
    assert rows.columns.tolist() == ["study", "scope", "trial_id", "attempt", "epoch", "step"]
    assert rows.step.tolist() == [10, 20, 30, 40] and read == []  # no file was read whole
    assert store.trials(scope=OTHER).trial_id.tolist() == ["t3", "t4"]
    assert store.trials(study="no such").empty and store.epochs(trial_id="no such").empty


def test_a_trial_taken_up_again_counts_on_and_its_rows_hold(store):
    squeeze(store)
    again = attempt(store, "t4", {1: 40.0, 2: 41.0}, scope=OTHER)
    assert again.attempt == 2
    assert store.trials(trial_id="t4")[["status", "attempt"]].values.tolist() == [["finished", 2]]
    attempt(store, "t1", {4: 34.0}, clips=1)
    assert learned(store)["t1"] == {1: 11.0, 2: 12.0, 3: 23.0, 4: 34.0}
    assert store.predictions(trial_id="t1").student_top5.map(list).tolist() == [[0, 3]]
    before = tables(store)
    squeeze(store)
    assert_same(tables(store), before)
    assert store.writer("s", SCOPE, "t1").attempt == 4 and store.writer("s", OTHER, "t4").attempt == 3
    assert len([p for p in data_files(store) if p.startswith("trials") and "compact-" in p]) == 2


def test_amendments_work_on_compacted_rows(store):
    squeeze(store)
    assert store.amend("s", SCOPE, "t0", {"status": "failed"}, {}) is None  # its own word stands
    names = data_files(store)
    store.amend("s", OTHER, "t3", {"status": "pruned", "notes": "again"}, {})
    row = store.trials(trial_id="t3").iloc[0]
    assert (row.status, row.notes, row.attempt, row.epochs_done) == ("pruned", "again", 1, 2)
    assert len(data_files(store)) == len(names) + 1
    squeeze(store)
    assert store.trials(trial_id="t3").notes.tolist() == ["again"] and len(data_files(store)) == len(names)
    store.amend("s", SCOPE, "t2", {"status": "pruned"}, {})
    squeeze(store)
    assert store.trials().status.tolist() == ["finished", "finished", "pruned", "pruned", "failed"]
    assert learned(store) == EPOCHS


def test_the_marker_is_raised_before_a_compacted_file_lies_there(store):
    marker = Path(store.uri, MARKER)
    marker.write_text('{"format": "sefar-results", "schema_version": 1, "made_by": "somebody"}')
    old = ResultStore(store.uri)
    seen = []

    def look(_: int) -> None:
        compacted = any("compact-" in path for path in data_files(store))
        seen.append((compacted, json.loads(marker.read_text())["schema_version"]))

    with breakable_disk() as disk:
        disk.start(before=look)
        squeeze(old)
    assert (False, 1) in seen and (True, 2) in seen and (True, 1) not in seen
    assert json.loads(marker.read_text())["made_by"] == "somebody" and old.schema_version == 2


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_crash_at_any_step_loses_and_doubles_nothing(store, tmp_path, every):
    before = tables(store)
    with breakable_disk() as disk:
        template = shutil.copytree(store.uri, tmp_path / "template")
        disk.start()
        squeeze(store)
        steps = disk.steps
        assert steps > 30
        for step in range(1, steps + 1, every):
            again = ResultStore(str(shutil.copytree(template, tmp_path / f"store{step}")))
            disk.start(kill_at=step)
            with pytest.raises(Killed):
                squeeze(again)
            disk.start()
            assert_same(tables(again), before)
            squeeze(again)
            assert_same(tables(again), before)
            assert again.problems() == [] and len(data_files(again)) == len(data_files(store))
            assert all(text.what.startswith("temporary") for text in verify(again, leftover_seconds=-1.0))
            shutil.rmtree(again.uri)


def test_a_reader_at_any_step_sees_the_same_rows(store):
    before = tables(store)
    with breakable_disk() as disk:
        disk.start(before=lambda _: assert_same(tables(ResultStore(store.uri)), before))
        squeeze(store)
        assert disk.steps > 30


@pytest.mark.slow
def test_rows_that_arrive_at_any_step_are_kept(store, tmp_path):
    """A writer that was given up for dead writes once more; its file lies among those that are being joined."""
    with breakable_disk() as disk:
        template = shutil.copytree(store.uri, tmp_path / "template")
        disk.start()
        squeeze(store)
        for late in range(1, disk.steps + 1):
            again = ResultStore(str(shutil.copytree(template, tmp_path / f"store{late}")))
            writer = attempt(again, "t5", {1: 50.0}, "pruned")

            def write(step: int, late: int = late, writer=writer) -> None:
                if step == late:
                    writer.epoch(epoch(2, 51.0))

            disk.start(before=write)
            squeeze(again)
            assert learned(again) == EPOCHS | {"t5": {1: 50.0, 2: 51.0}}, late
            shutil.rmtree(again.uri)


@pytest.mark.slow
def test_two_compactions_at_once_are_harmless(store, tmp_path):
    before = tables(store)
    with breakable_disk() as disk:
        template = shutil.copytree(store.uri, tmp_path / "template")
        disk.start()
        squeeze(store)
        for second in range(1, disk.steps + 1):
            again = ResultStore(str(shutil.copytree(template, tmp_path / f"store{second}")))

            def other(step: int, second: int = second, again: ResultStore = again) -> None:
                if step == second:
                    squeeze(ResultStore(again.uri))

            disk.start(before=other)
            squeeze(again)
            assert_same(tables(again), before)
            shutil.rmtree(again.uri)


def test_a_reader_that_listed_before_and_reads_after_misses_nothing(store, monkeypatch):
    before = tables(store)
    for table in TABLES:
        reader, load, turns = ResultStore(store.uri), ResultStore.load, []

        def late(self: ResultStore, *args, load=load, reader=reader, turns=turns):
            if self is reader and not turns:
                turns.append(1)
                squeeze(ResultStore(store.uri))
                attempt(store, "t0", {2: 20.0}, clips=3, **{"config.kind": "none", "config.depth": 2})
            return load(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(ResultStore, "load", late)
            rows = reader.read(table, columns=["label"])
        assert rows[list(TABLES[table].key)].values.tolist() == before[table][list(TABLES[table].key)].values.tolist()


def test_a_slow_listing_is_made_again(store, monkeypatch):
    from studies.results import reading

    monkeypatch.setattr(reading, "LISTING_SECONDS", 0.0)  # every listing is slow
    listings, files = [], Location.files

    def listed(self: Location, folder: str = "") -> list[str]:
        found = files(self, folder)
        listings.append(folder)
        if len(listings) == 1:  # as a listing that met neither the old files nor the new one
            squeeze(ResultStore(store.uri))
            found = [path for path in found if "-a" not in path]
        return found

    monkeypatch.setattr(Location, "files", listed)
    assert learned(store) == EPOCHS and listings[0] == "epochs"


def test_torn_files_and_what_belongs_to_them_are_left_alone(store):
    torn = Path(store.uri, attempt(store, "t6", {1: 1.0, 2: 2.0}, clips=1).path("epochs"))
    torn.write_bytes(torn.read_bytes()[:100])
    done = compact(store, pause_seconds=0.0)
    assert done.torn == {"t6"} and torn.stat().st_size == 100 and learned(store) == EPOCHS
    own = [StoreFile.parse(path) for path in data_files(store)]
    assert [(f.table, f.trial_id) for f in own if f.trial_id in ("t0", "t6")] == [
        *[("epochs", "t6"), ("predictions", "t6"), ("trials", "t6")]
    ]  # in all tables, also in those that come before the torn one


def test_a_file_that_reads_otherwise_than_written_ends_the_compaction_before_anything_goes(store, monkeypatch):
    files, write = data_files(store), Location.write

    def damaged(self: Location, name: str, data: bytes, **more) -> None:
        write(self, name, data[:-1] + b"x" if "compact-" in name else data, **more)

    monkeypatch.setattr(Location, "write", damaged)
    with pytest.raises(StoreError, match="reads otherwise than it was written"):
        squeeze(store)
    assert set(files) < set(data_files(store)) and learned(store) == EPOCHS


def test_large_compacted_files_are_not_joined_again(store):
    compact(store, pause_seconds=0.0, large_bytes=1)
    alone = {path for path in data_files(store) if "compact-" in path}
    for number in (7, 8):
        attempt(store, f"t{number}", {1: 1.0})
    compact(store, pause_seconds=0.0, large_bytes=1)
    assert alone <= set(data_files(store)) and learned(store) == EPOCHS | {"t7": {1: 1.0}, "t8": {1: 1.0}}
    squeeze(store)
    assert len([path for path in data_files(store) if path.startswith("epochs")]) == 3


def test_trials_whose_rows_wait_on_this_machine_are_left_alone_and_settled_against_what_was_joined(store, tmp_path):
    """Another machine compacts while the last rows of a pruned trial still wait here."""
    writer = attempt(store, "t7", {1: 1.0}, "pruned")
    moved = tmp_path / "unmounted"
    spool.WRITE_PATIENCE_SECONDS, patience = 0.0, spool.WRITE_PATIENCE_SECONDS
    try:
        Path(store.uri).rename(moved)
        writer.epoch(epoch(2, 2.0))
        writer.trial({"number": 7, "status": "running", "epochs_done": 2})
    finally:
        moved.rename(store.uri)
        spool.WRITE_PATIENCE_SECONDS = patience
    here = shutil.copytree(spool_folder(store.location), tmp_path / "kept")
    shutil.rmtree(spool_folder(store.location))
    squeeze(store)
    assert [p for p in data_files(store) if "t7" in p] == []
    shutil.copytree(here, spool_folder(store.location))
    assert deliver_leftovers(store.location) == []
    assert learned(store)["t7"] == {1: 1.0, 2: 2.0}
    # of one writer the later version holds; the row it left last says that it was still running
    assert store.trials(trial_id="t7")[["status", "epochs_done"]].values.tolist() == [["running", 2]]


def test_a_late_row_does_not_undo_an_end_that_was_recorded_and_compacted(store, tmp_path):
    late = store.writer("s", SCOPE, "t7")
    late.trial({"number": 7, "status": "running", "epochs_done": 1})
    late.epoch(epoch(1, 1.0))
    kept = {table: Path(store.uri, late.path(table)).read_bytes() for table in ("trials", "epochs")}
    store.amend("s", SCOPE, "t7", {"status": "pruned"}, {})
    squeeze(store)
    for table, data in kept.items():
        place = spool_folder(store.location) / "store" / late.path(table)
        place.parent.mkdir(parents=True)
        place.write_bytes(data)
    assert deliver_leftovers(store.location) == []
    assert store.trials(trial_id="t7").status.tolist() == ["pruned"] and learned(store)["t7"] == {1: 1.0}
    assert [p for p in data_files(store) if "t7" in p] == []


def test_compacted_files_say_who_wrote_what_they_hold(store):
    squeeze(store)
    (path,) = [p for p in data_files(store) if p.startswith("epochs") and "compact-" in p]
    members = json.loads(pq.read_schema(Path(store.uri, path)).metadata[b"sefar_members"])
    assert [(trial, number) for trial, number, *_ in members] == [("t0", 1), ("t1", 1), ("t1", 2)]
    assert all(len(writer) == 32 and version > 0 for _, _, writer, version in members)


def test_on_an_object_store(bucket):
    store = ResultStore(f"s3://{bucket}/store", create=True)
    for number in range(3):
        attempt(store, f"t{number}", {1: 1.0, 2: 2.0}, clips=2)
    before = tables(store)
    assert compact(store, pause_seconds=0.0).joined == 9
    assert_same(tables(ResultStore(store.uri)), before)
    assert len(store.location.files()) == 4 and list(verify(store)) == []
    late = attempt(store, "t2", {2: 3.0})
    assert late.attempt == 2 and learned(store)["t2"] == {1: 1.0, 2: 3.0}


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_only_what_is_still_the_same_is_deleted(kind, request, tmp_path):
    uri = str(tmp_path / "x") if kind == "local" else f"s3://{request.getfixturevalue('bucket')}/x"
    location, digest = Location(uri), hashlib.sha256(b"old").hexdigest()
    location.write("a/b", b"old")
    location.write("a/c", b"new")
    assert location.remove_same("a/b", digest) and not location.remove_same("a/c", digest)
    assert location.remove_same("a/b", digest)  # nothing is there any more
    assert location.files() == ["a/c"] and location.read("a/c") == b"new"


def test_trials_of_a_run_are_sound_and_a_resumed_study_finds_them(tmp_path, monkeypatch):
    """As the engine writes them: finished, interrupted and taken up, failed, and taken up again after compaction."""
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))
    base = recipe("synthgym_tiny", {"optim.epochs": 3, "objective.warmup_epochs": 0})
    study = Study(name="s", base=base, scopes=Axis(key="scope.name", values=(FX,)), space=SCOPE_SWEEP, trials=3)
    store = ResultStore(str(tmp_path / "store"), create=True)
    toy = RunSettings(store=store.uri, workload="tests.studies.toy:ToyWorkload", study=study.columns)

    def run(number: int, epochs: int, role: str = "search") -> TrialRun:
        trial = TrialRun(study.spec(FX, number, role), toy, 3)
        for _ in range(epochs):
            trial.step()
        return trial

    run(0, 3, "default")
    run(1, 2)  # killed
    run(1, 1)
    run(2, 1).fail(RuntimeError("worker died"))
    assert list(verify(store)) == []
    before = read_history(store, study)
    assert compact(store, pause_seconds=0.0).joined == 4 + 4 + 2 and list(verify(store)) == []
    assert read_history(store, study) == before and [past.status for past in before] == ["finished"] * 2 + ["failed"]
    assert sorted(before[1].values) == [1, 2, 3]
    again = run(2, 2)
    assert again.writer.attempt == 2 and again.row["status"] == "finished"
    history = read_history(store, study)
    assert history[2].status == "finished" and sorted(history[2].values) == [1, 2, 3] and list(verify(store)) == []
