"""Whole sweeps whose store lies on S3: run, extended, and through an outage."""

from __future__ import annotations

import json
import threading
import time

import pytest

from sefar.config import TrainConfig
from studies.results.spool import waiting_files
from studies.results.store import ResultStore
from tests.studies.sweeps import FX, UB, make_study, sweep
from tests.studies.toy import ToyTrainer

pytestmark = [pytest.mark.ray, pytest.mark.slow]

EPOCHS = 6


def check_complete(store: ResultStore, trials: int) -> None:
    """Every trial ended once, with all rows of its epochs and, if finished, its test result."""
    rows, epochs = store.trials(), store.epochs()
    assert sorted(rows.scope.value_counts().to_dict().items()) == [(FX, trials), (UB, trials)]
    assert set(rows.status) <= {"finished", "pruned"}
    for _, row in rows.iterrows():
        own = epochs[epochs.trial_id == row.trial_id]
        assert own.epoch.tolist() == list(range(1, int(row.epochs_done) + 1))
        if row.status == "finished":
            assert row.epochs_done == EPOCHS and len(store.predictions(trial_id=row.trial_id)) == 2
            config = TrainConfig.from_dict(json.loads(row.config_json))
            assert row.test_student_top1 == ToyTrainer(config).ceiling
    assert (rows.status == "finished").sum() >= 4 and store.problems() == []
    assert waiting_files(store.location) == []


def test_a_sweep_on_s3_is_run_and_extended(server, bucket):
    uri = f"s3://{bucket}/runs/store"
    store, _ = sweep(uri, make_study(epochs=EPOCHS))
    check_complete(store, 4)
    _, said = sweep(uri, make_study(epochs=EPOCHS), resume=True)
    assert any("already complete: 8 trials" in line for line in said)
    store, _ = sweep(uri, make_study(epochs=EPOCHS), extend=1)
    check_complete(store, 5)
    assert not [key for key in server.keys(bucket) if key.endswith(".pt") or (".lease/" in key and key[-1] != "/")]


def test_a_sweep_outlives_an_outage(server, bucket, monkeypatch):
    """The storage goes away while trials are under way and end, and comes back after a while."""
    monkeypatch.setenv("TOY_EPOCH_SECONDS", "0.3")
    uri = f"s3://{bucket}/store"
    ResultStore(uri, create=True)

    def take_away() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and len(ResultStore(uri).epochs()) < 10:
            time.sleep(0.2)
        with server.away():
            time.sleep(10)

    outage = threading.Thread(target=take_away)
    outage.start()
    store, _ = sweep(uri, make_study(epochs=EPOCHS), patience_seconds=120.0)
    outage.join()
    check_complete(store, 4)
    assert store.trials().attempt.max() == 1 and len(store.epochs(all_attempts=True)) == len(store.epochs())
