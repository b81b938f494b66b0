"""Every kind of damage is found, each in one line with its mend."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from studies.results.compaction import compact
from studies.results.store import ResultStore
from studies.results.verify import verify, wrong
from tests.studies.stores import SCOPE, attempt, data_files


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))
    store = ResultStore(str(tmp_path / "store"), create=True)
    attempt(store, "t0", {1: 10.0, 2: 20.0}, clips=3)
    attempt(store, "t1", {1: 11.0, 2: 12.0, 3: 13.0}, "running")
    attempt(store, "t1", {3: 23.0, 4: 24.0}, clips=2)
    attempt(store, "t2", {1: 5.0}, "running")
    return store


def said(store: ResultStore, *, harmless: bool = False) -> list[str]:
    findings = list(verify(store))
    assert wrong(findings) == (bool(findings) and not harmless) and not any(
        "\n" in str(finding) for finding in findings
    )
    return [str(finding) for finding in findings]


def path(store: ResultStore, table: str, name: str) -> Path:
    (found,) = [p for p in Path(store.uri, table).rglob("*.parquet") if p.name == name]
    return found


def changed(file: Path, change) -> None:
    table = pq.ParquetFile(file).read()
    pq.write_table(change(table), file)


def test_what_a_search_keeps_beside_the_tables_is_no_foreign_file(store):
    store.location.write("_optuna/sweep.journal", b"{}")
    assert said(store) == []


def test_a_sound_store_before_and_after_compaction(store):
    assert said(store) == []
    compact(store, pause_seconds=0.0)
    assert said(store) == []


def test_torn_foreign_and_left_behind(store):
    file = path(store, "epochs", "t0-a1.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    file.with_name("notes.txt").write_text("mine")
    Path(store.uri, "summary.html").write_text("mine")
    Path(store.uri, "epochs/.t0-a1.parquet.abc").write_text("half")
    assert len(said(store)) == 3  # the temporary file may belong to a writer at work
    os.utime(Path(store.uri, "epochs/.t0-a1.parquet.abc"), (0, 0))
    temporary, foreign, other, torn = said(store)
    assert "epochs/.t0-a1.parquet.abc: temporary file" in temporary and temporary.endswith("; delete it")
    assert foreign.endswith("notes.txt: not a file of this store; move it elsewhere")
    assert other == "summary.html: not a file of this store; move it elsewhere"
    assert "t0-a1.parquet: torn or not Parquet" in torn and "; delete the file" in torn


def test_keys_types_and_rows_that_belong_elsewhere(store):
    epochs = path(store, "epochs", "t0-a1.parquet")
    shutil.copy(epochs, epochs.with_name("t7-a3.parquet"))
    (strange,) = [text for text in said(store) if "another trial" in text]
    assert "t7-a3.parquet: has rows of another trial or attempt than its name says (t0, attempt 1)" in strange
    epochs.with_name("t7-a3.parquet").unlink()
    predictions = path(store, "predictions", "t0-a1.parquet")
    changed(predictions, lambda t: t.take([0, 0, 0, 1, 2]))
    (double,) = {text.split(": ", 1)[1].split(";")[0] for text in said(store)}
    assert double == "clip 'c0' of part 'test' of trial t0 is listed 3 times"
    changed(predictions, lambda t: t.set_column(t.schema.get_field_index("label"), "label", t["label"].cast("str")))
    assert any("column 'label' is string, expected int64" in text for text in said(store))
    changed(epochs, lambda t: t.drop_columns("epoch"))
    assert any("t0-a1.parquet: lacks the key columns" in text for text in said(store))


def test_tables_that_do_not_fit_together(store):
    path(store, "predictions", "t1-a2.parquet").unlink()
    changed(path(store, "epochs", "t0-a1.parquet"), lambda t: t.slice(1))
    path(store, "trials", "t2-a1.parquet").unlink()
    few, unseen, lone = said(store)
    assert f"s/{SCOPE}/t0: finished with 2 epochs done, but has rows of 1; take its learning curve" in few
    assert f"s/{SCOPE}/t1: finished with a test result, but has no predictions; " in unseen
    assert f"s/{SCOPE}/t2: has rows of other tables, but none of trials; run its study again with --resume" in lone
    path(store, "epochs", "t1-a1.parquet").unlink()
    assert any("t1: finished with 4 epochs done, but has rows of 2" in text for text in said(store))


def test_a_gap_in_the_epochs_of_a_trial_that_was_stopped(store):
    attempt(store, "t5", {1: 1.0, 3: 3.0}, "pruned", epochs_done=2)
    (text,) = said(store)
    assert "t5: lacks epochs 2 of 3" in text


def test_compacted_files_that_changed_or_are_there_beside_the_old_ones(store):
    template = {name: Path(store.uri, name).read_bytes() for name in data_files(store)}
    compact(store, pause_seconds=0.0)
    for name, data in template.items():
        Path(store.uri, name).write_bytes(data)
    texts = said(store, harmless=True)
    assert len(texts) == 3 and all("readers count them once, the next compaction joins them" in t for t in texts)
    assert "holds rows of 2 trials (t0, t1) that lie in other files too" in texts[0]
    compact(store, pause_seconds=0.0)
    assert said(store) == []
    (file,) = Path(store.uri, "epochs").rglob("compact-*.parquet")
    changed(file, lambda t: t)
    (text,) = said(store)
    assert "its content has changed since it was written; restore it from a backup" in text
    file.write_bytes(file.read_bytes()[:-9])
    (text,) = said(store)  # and nothing of its trials
    assert "torn or not Parquet" in text and text.endswith(
        "; restore it from a backup, for it may be the only copy of many trials"
    )


def test_a_torn_file_hides_nothing_of_other_trials(store):
    path(store, "epochs", "t0-a1.parquet").write_bytes(b"torn")
    path(store, "predictions", "t1-a2.parquet").unlink()
    torn, lost = said(store)
    assert "epochs/" in torn and "t1: finished with a test result, but has no predictions" in lost


@pytest.mark.parametrize("number", [2**60, 0, -3])
def test_a_damaged_epoch_number_is_named(store, number):
    epochs = path(store, "epochs", "t0-a1.parquet")
    changed(epochs, lambda t: t.set_column(t.schema.get_field_index("epoch"), "epoch", [[number, 2]]))
    (text,) = said(store)
    assert f"t0: has rows of epochs {number}, planned are 1 to 4; take its learning curve" in text
    trials = path(store, "trials", "t0-a1.parquet")
    changed(trials, lambda t: t.drop_columns("epochs_planned"))
    (text,) = said(store)
    assert f"t0: lacks epochs 1, 3, 4 of {number}" in text if number > 1 else "planned are 1 and more" in text


def test_single_bits_that_flip_in_the_pages_are_seen(store):
    """In what Parquet has checksums for; its footer has none."""
    file = path(store, "epochs", "t0-a1.parquet")
    whole, before = file.read_bytes(), store.epochs()
    at = whole.index(np.float64(20.0).tobytes())  # a value of the metric
    file.write_bytes(whole[: at + 5] + bytes([whole[at + 5] ^ 16]) + whole[at + 6 :])
    assert any("t0-a1.parquet: torn or not Parquet" in text for text in said(store))
    assert set(store.epochs().trial_id) == set(before.trial_id) - {"t0"}


def test_trials_taken_up_and_stopped_before_they_had_come_as_far_are_sound(store):
    attempt(store, "t5", {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}, "running")
    attempt(store, "t5", {}, "failed", error="clips are not there")
    attempt(store, "t6", {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}, "running")
    attempt(store, "t6", {1: 5.0, 2: 6.0}, "pruned")
    assert said(store) == []
    attempt(store, "t7", {1: 1.0, 2: 2.0, 3: 3.0}, "pruned", epochs_done=1)
    changed(
        path(store, "trials", "t7-a1.parquet"),
        lambda t: t.set_column(t.schema.get_field_index("epochs_done"), "epochs_done", [[1]]),
    )
    (text,) = said(store)
    assert "t7: pruned with 1 epochs done, but has rows of 3" in text


def test_an_amendment_of_a_compacted_trial_is_no_damage(store):
    compact(store, pause_seconds=0.0)
    attempt(store, "t3", {1: 1.0}, "pruned")
    compact(store, pause_seconds=0.0)
    store.amend("s", SCOPE, "t3", {"status": "pruned", "notes": "again"}, {})
    (text,) = said(store, harmless=True)
    assert "holds rows of 1 trials (t3) that lie in other files too; nothing to do" in text


def test_a_trial_that_starts_or_goes_on_meanwhile_is_no_damage(store, monkeypatch):
    trials, turns = ResultStore.trials, []

    def racing(self, **where):
        rows = trials(self, **where)
        if "epochs_planned" in where.get("columns", ()) and not turns:
            turns.append(1)
            attempt(store, "t8", {1: 1.0}, "running")
            attempt(store, "t1", {5: 1.0}, "running")
        return rows

    monkeypatch.setattr(ResultStore, "trials", racing)
    assert list(verify(store)) == [] and turns
