"""Every kind of damage is found, each in one line with its mend."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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


def said(store: ResultStore) -> list[str]:
    findings = list(verify(store))
    assert wrong(findings) == bool(findings) and not any("\n" in str(finding) for finding in findings)
    return [str(finding) for finding in findings]


def path(store: ResultStore, table: str, name: str) -> Path:
    (found,) = [p for p in Path(store.uri, table).rglob("*.parquet") if p.name == name]
    return found


def changed(file: Path, change) -> None:
    table = pq.ParquetFile(file).read()
    pq.write_table(change(table), file)


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
    texts = said(store)
    assert len(texts) == 3 and all("run compact, which was broken off or overtaken" in text for text in texts)
    assert "holds rows of 2 trials (t0, t1) that lie in other files too" in texts[0]
    compact(store, pause_seconds=0.0)
    assert said(store) == []
    (file,) = Path(store.uri, "epochs").rglob("compact-*.parquet")
    changed(file, lambda t: t)
    (text,) = said(store)
    assert "its content has changed since it was written; restore it from a backup" in text
