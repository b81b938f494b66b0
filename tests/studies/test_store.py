"""The result store: what is written is read back, whatever else lies or happens there."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sefar.errors import StoreError
from studies.results import storage
from studies.results import store as store_module
from studies.results.store import MARKER, ResultStore

SCOPE = "synthgym/event:FX@1pc#0"


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(str(tmp_path / "store"), create=True)


def epoch(number: int, value: float = 50.0) -> dict:
    return {"epoch": number, "step": 10 * number, "dev_student_top1": value, "total_loss": 1.5}


def test_rows_come_back_with_study_and_scope(store):
    writer = store.writer("s", SCOPE, "t0")
    writer.trial({"number": 0, "status": "finished", "config.perturb.kind": "none", "config.model.depth": 3})
    writer.epoch(epoch(1, 20.0))
    writer.epoch(epoch(2, 30.0))
    trials, epochs = store.trials(), store.epochs()
    assert trials.loc[0, ["study", "scope", "trial_id", "status"]].tolist() == ["s", SCOPE, "t0", "finished"]
    assert trials.loc[0, "config.model.depth"] == 3.0 and pd.isna(trials.loc[0, "test_student_top1"])
    assert epochs.dev_student_top1.tolist() == [20.0, 30.0] and epochs.total_loss.tolist() == [1.5, 1.5]
    assert store.problems() == []


def test_an_empty_store_has_the_columns(store):
    assert store.trials().empty and {"study", "scope", "status", "error"} <= set(store.trials().columns)
    assert store.predictions().empty and store.regulation().empty


def test_the_last_attempt_of_an_epoch_counts(store):
    first = store.writer("s", SCOPE, "t0")
    for number in (1, 2, 3):
        first.epoch(epoch(number, 10.0))
    second = store.writer("s", SCOPE, "t0")
    assert (first.attempt, second.attempt) == (1, 2)
    second.epoch(epoch(3, 33.0))
    second.epoch(epoch(4, 44.0))
    assert store.epochs().dev_student_top1.tolist() == [10.0, 10.0, 33.0, 44.0]
    assert store.epochs().attempt.tolist() == [1, 1, 2, 2]
    assert len(store.epochs(all_attempts=True)) == 5


def test_predictions_of_an_earlier_attempt_do_not_shine_through(store):
    for clips in (["a", "b", "c"], ["a", "b"]):
        writer = store.writer("s", SCOPE, "t0")
        writer.trial({"number": 0})
        writer.write("predictions", [{"part": "test", "clip_id": c, "student_top5": [1, 0]} for c in clips])
    read = store.predictions()
    assert read.clip_id.tolist() == ["a", "b"]
    assert read.student_top5.iloc[0].tolist() == [1, 0]


def test_missing_values_become_null(store):
    frame = pd.DataFrame({"part": ["test"], "clip_id": ["a"], "teacher_top5": [None], "start_frame": [np.nan]})
    store.writer("s", SCOPE, "t").write("predictions", frame)
    row = store.predictions().iloc[0]
    assert row.teacher_top5 is None and pd.isna(row.start_frame)


def test_columns_and_partitions_are_pruned(store):
    for study, scope in (("a", SCOPE), ("b", SCOPE), ("a", "lists:/x y/é")):
        store.writer(study, scope, "t").epoch(epoch(1))
    assert len(store.epochs(study="a")) == 2
    only = store.epochs(study="a", scope="lists:/x y/é", columns=["step"])
    assert only.columns.tolist() == ["study", "scope", "trial_id", "attempt", "epoch", "step"]
    (folder,) = Path(store.uri).glob("epochs/study=b")
    for file in folder.rglob("*.parquet"):
        file.write_bytes(b"torn")
    assert len(store.epochs(study="a")) == 2 and store.problems() == []


def test_plain_parquet_readers_understand_it(store):
    store.writer("s", SCOPE, "t0").epoch(epoch(1))
    store.writer("s", "lists:/x", "t1").epoch(epoch(1))
    read = pq.read_table(f"{store.uri}/epochs").to_pandas()
    assert sorted(read.scope.astype(str)) == ["lists:/x", SCOPE]


def test_torn_and_foreign_files_are_reported_and_skipped(store, caplog):
    writer = store.writer("s", SCOPE, "good")
    writer.epoch(epoch(1))
    folder = Path(store.uri, writer.path("epochs")).parent
    whole = Path(store.uri, writer.path("epochs")).read_bytes()
    (folder / "half-a1.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "empty-a1.parquet").write_bytes(b"")
    (folder / "notes.txt").write_text("mine")
    (folder / ".good-a1.parquet.123abc").write_bytes(b"a writer was killed here")
    pd.DataFrame({"x": [1]}).to_parquet(folder / "other-a1.parquet")
    assert store.epochs().trial_id.tolist() == ["good"]
    problems = "\n".join(store.problems())
    assert len(store.problems()) == 4
    for part in ("half-a1.parquet: torn", "empty-a1.parquet: torn", "notes.txt: not a file", "other-a1.parquet: lacks"):
        assert part in problems
    store.epochs()
    assert len([r for r in caplog.records if "half-a1" in r.getMessage()]) == 1


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"is not a result store .*_sefar_store.json"):
        ResultStore(str(tmp_path), create=True)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(StoreError, match="is a file"):
        ResultStore(str(tmp_path / "thesis.tex"), create=True)
    with pytest.raises(StoreError, match="there is no result store"):
        ResultStore(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_a_store_of_an_older_version_lacks_columns_and_reads_as_null(store):
    """Before confirmation, distributed trials and logs there were fewer columns."""
    writer = store.writer("s", SCOPE, "old")
    writer.trial({"number": 0, "status": "finished", "stage": "search"})
    path = Path(store.uri, writer.path("trials"))
    added = ["confirms", "train_seed", "workers", "updated_at", "log"]
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(added), path)
    row = store.trials().iloc[0]
    assert row.status == "finished" and all(pd.isna(row[name]) for name in added)
    assert store.trials(columns=["log", "no_such"]).columns.tolist() == ["study", "scope", "trial_id", "attempt", "log"]
    new = {"status": "running", "workers": 2, "updated_at": "2026-01-01T00:00:00+00:00", "train_seed": 3}
    store.writer("s", SCOPE, "young").trial(new)
    rows = store.trials().set_index("trial_id")
    assert pd.isna(rows.workers["old"]) and rows.workers["young"] == 2 and rows.train_seed["young"] == 3
    assert store.problems() == []


def test_a_newer_or_damaged_marker_is_refused(store):
    marker = Path(store.uri, MARKER)
    marker.write_text(json.dumps({"format": "sefar-results", "schema_version": 99}))
    with pytest.raises(StoreError, match="schema version 99"):
        ResultStore(store.uri)
    marker.write_text('{"format": "sefar-')
    with pytest.raises(StoreError, match="damaged or foreign marker"):
        ResultStore(store.uri)


@pytest.mark.parametrize(
    ("code", "text"),
    [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "no space left"), (errno.EROFS, "read-only")],
)
def test_full_and_read_only_storage_is_explained_and_loses_nothing(store, monkeypatch, code, text):
    writer = store.writer("s", SCOPE, "t0")
    writer.epoch(epoch(1))

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(storage.os, "fsync", fail)
    with pytest.raises(StoreError, match=text) as caught:
        writer.epoch(epoch(2))
    assert store.uri in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(StoreError, match=text):
        ResultStore(store.uri, create=True)  # noticed before anything starts
    monkeypatch.undo()
    assert store.epochs().epoch.tolist() == [1]
    assert not list(Path(store.uri).rglob(".*"))  # no temporary file left behind


@pytest.mark.skipif(not os.path.isdir("/proc/1"), reason="needs a file system that nobody can write to")
def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(StoreError, match="/proc/store"):
        ResultStore("/proc/store", create=True)


def test_an_unknown_uri_is_refused():
    with pytest.raises(StoreError, match="give a local path"):
        ResultStore("ftp://x/y", create=True)


def _write_many(uri: str, number: int) -> None:
    store = ResultStore(uri)
    writer = store.writer("s", SCOPE, f"t{number}")
    for e in range(1, 21):
        writer.epoch(epoch(e, number))
        writer.trial({"number": number, "epochs_done": e})


def test_writers_and_a_reader_do_not_disturb_each_other(store):
    """Spawned writers; each read in between is whole: every trial's epochs are 1 … n without a gap."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(store.uri, n)) for n in range(3)]
    for process in writers:
        process.start()
    reads, done = 0, threading.Event()
    while not done.is_set():
        if not any(p.is_alive() for p in writers):
            done.set()
        for _, rows in store.epochs().groupby("trial_id"):
            assert rows.epoch.tolist() == list(range(1, len(rows) + 1))
        reads += 1
    assert all(p.exitcode == 0 for p in writers) and reads > 1
    assert len(store.epochs()) == 60 and store.trials().epochs_done.tolist() == [20, 20, 20]
    assert store.problems() == []


def test_studies_that_start_at_once_make_one_store(tmp_path):
    for turn in range(40):
        uri = str(tmp_path / f"store{turn}")
        start = threading.Barrier(6)

        def make(_: int, uri: str = uri, start: threading.Barrier = start) -> int:
            start.wait()
            return ResultStore(uri, create=True).schema_version

        with ThreadPoolExecutor(6) as pool:
            assert len(set(pool.map(make, range(6)))) == 1


def test_a_store_in_the_making_is_waited_for_and_a_folder_of_dot_files_is_none(tmp_path, monkeypatch):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/._sefar_store.json.abc").touch()
    other = threading.Timer(0.3, lambda: (tmp_path / "store" / MARKER).write_bytes(marker))
    marker = (Path(ResultStore(str(tmp_path / "model"), create=True).uri) / MARKER).read_bytes()
    other.start()
    ResultStore(str(tmp_path / "store"), create=True)
    other.join()
    monkeypatch.setattr(store_module, "BIRTH_SECONDS", 0.1)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/.git").mkdir()
    with pytest.raises(StoreError, match="not empty; give --store a new folder"):
        ResultStore(str(tmp_path / "foreign"), create=True)
    (tmp_path / "odd" / MARKER).mkdir(parents=True)
    with pytest.raises(StoreError, match="not empty"):
        ResultStore(str(tmp_path / "odd"), create=True)
