"""Stores of older versions: readable as they are, raised with the first write.

`tests/data/store_v1` was written by the software of schema version 1 itself: a finished default trial, one interrupted
in its fourth epoch and taken up again after its checkpoint of the second, a failed one, and one still running.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from studies.results import store as store_module
from studies.results.compaction import compact
from studies.results.leaderboard import leaderboard
from studies.results.schema import SCHEMA_VERSION
from studies.results.store import MARKER, ResultStore
from studies.results.verify import verify, wrong

OLD = Path(__file__).resolve().parents[1] / "data/store_v1"
CORE = "synthgym/core@1pc#0"
NEW = {"trials": ["labelled_clips", "unlabelled_clips", "classes"], "predictions": ["label_name", "set", "group"]}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))
    return ResultStore(str(shutil.copytree(OLD, tmp_path / "store")))


def version(store: ResultStore) -> int:
    return json.loads(Path(store.uri, MARKER).read_text())["schema_version"]


def assert_old_rows(store: ResultStore) -> None:
    trials = store.trials().set_index("trial_id")
    assert trials.status.to_dict() == {
        **{"old.FX.000": "failed", "old.FX.001": "running", "old.core.000": "finished", "old.core.001": "finished"}
    }
    assert trials.attempt["old.core.001"] == 2 and trials["config.perturb.kind"].unique().tolist() == ["drop"]
    epochs = store.epochs(trial_id="old.core.001")
    assert epochs.dev_student_top1.tolist() == [11.0, 12.0, 23.0, 24.0]
    assert epochs.attempt.tolist() == [1, 1, 2, 2]
    assert len(store.predictions()) == 8 and store.regulation().right_clips.tolist() == [6, 6]
    for table, columns in NEW.items():
        assert store.read(table)[columns].isna().all(axis=None)
    assert "24.0     25.0" not in leaderboard(store.trials(), CORE) and "40.0" in leaderboard(store.trials(), CORE)
    assert store.problems() == []


def test_an_old_store_reads_as_it_is_and_lacks_the_new_columns(store):
    assert store.schema_version == 1 and SCHEMA_VERSION == 2
    assert_old_rows(store)
    (note,) = verify(store)
    assert "schema version 1, this software writes 2" in str(note) and not wrong([note])
    assert version(store) == 1  # reading and verifying change nothing


def test_compaction_raises_the_version_and_keeps_the_rows(store):
    compact(store, pause_seconds=0.0)
    assert version(store) == store.schema_version == 2
    assert_old_rows(store)
    assert list(verify(store)) == []


def test_a_writer_raises_the_version_and_old_and_new_rows_lie_side_by_side(store):
    writer = store.writer("old", CORE, "old.core.002")
    assert version(store) == 2
    writer.trial({"number": 2, "status": "finished", "epochs_done": 0, "labelled_clips": 7})
    assert store.trials().set_index("trial_id").labelled_clips.dropna().to_dict() == {"old.core.002": 7}
    assert store.writer("old", CORE, "old.core.001").attempt == 3


def test_a_run_raises_the_version(store):
    assert ResultStore(store.uri, create=True).schema_version == version(store) == 2


def test_a_version_that_newer_software_has_raised_meanwhile_is_not_lowered(store):
    marker = Path(store.uri, MARKER)
    marker.write_text('{"format": "sefar-results", "schema_version": 3}')
    with pytest.raises(store_module.StoreError, match="schema version 3, newer than 2; update sefar"):
        compact(store, pause_seconds=0.0)
    assert version(store) == 3


def test_older_software_refuses_what_it_would_overlook(store, monkeypatch):
    compact(store, pause_seconds=0.0)
    monkeypatch.setattr(store_module, "SCHEMA_VERSION", 1)
    with pytest.raises(store_module.StoreError, match="schema version 2, newer than 1; update sefar"):
        ResultStore(store.uri)
