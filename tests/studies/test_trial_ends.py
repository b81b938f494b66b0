"""Trials that ASHA or the budget ends, and sweeps that give up, while the storage is away."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sefar.errors import StoreError
from studies.engine import trial_run
from studies.engine.bookkeeping import Bookkeeper
from studies.engine.budget import Budget
from studies.engine.trial_run import RunSettings, TrialRun
from studies.results.outage import StorageOutage
from studies.results.spool import spool_folder, waiting_files
from studies.results.storage import Location
from studies.results.store import ResultStore
from tests.studies.test_spool import SCOPE, TOY, again_soon, impatient
from tests.studies.test_trial_run import spec_of


@pytest.fixture
def settings(bucket, monkeypatch, tmp_path) -> RunSettings:
    impatient(monkeypatch, tmp_path)
    monkeypatch.setattr("studies.results.amendments.ONE_TRY_SECONDS", 0.0)
    monkeypatch.setattr("studies.results.amendments.TRY_EVERY_SECONDS", 0.0)
    logs = Location(tmp_path / "logs")
    monkeypatch.setattr(RunSettings, "work", property(lambda _: logs))
    uri = ResultStore(f"s3://{bucket}/store", create=True).uri
    return RunSettings(store=uri, workload=TOY, patience_seconds=20.0)


def pruned_trial(settings: RunSettings) -> Any:
    config = {"spec": spec_of().to_json(), "planned": 2, "settings": settings.to_json()}
    result = {"epoch": 1, "dev_student_top1": 50.0}
    return SimpleNamespace(trial_id="t", config=config, last_result=result, error_file=None)


def test_a_trial_that_is_stopped_delivers_what_waits(server, settings):
    run = TrialRun(spec_of(), settings, 2)
    run.step()
    with server.away():
        run.step()
    store = ResultStore(settings.store)
    assert store.epochs().epoch.tolist() == [1]
    run.close()
    assert store.epochs().epoch.tolist() == [1, 2] and waiting_files(store.location) == []
    assert run.checkpoints.load(run.spec.trial_id)["trial"]["epochs_done"] == 2


def test_a_checkpoint_that_waits_alone_is_delivered_too(server, settings):
    run = TrialRun(spec_of(), settings, 2)
    with server.away():
        run.checkpoints.save(run.spec.trial_id, {"epoch": 1})
    run.close()
    assert run.checkpoints.location.files() != []


def test_a_stopped_trial_waits_within_bounds_and_says_where_its_rows_are(server, settings, monkeypatch, caplog):
    monkeypatch.setattr(trial_run, "CLOSE_SECONDS", 0.3)
    run = TrialRun(spec_of(), settings, 2)
    run.step()
    with server.away():
        run.step()
        started = time.monotonic()
        with caplog.at_level(logging.WARNING):
            run.close()
        assert time.monotonic() - started < 10
    folder = spool_folder(ResultStore(settings.store).location)
    assert f"wait in {folder}" in caplog.text and "run the same command again on this machine" in caplog.text


def test_a_trial_whose_store_failed_does_not_wait_again(server, settings, monkeypatch):
    run = TrialRun(spec_of(), settings, 2)
    run.step()
    with server.away():
        run.step()
        monkeypatch.setattr(trial_run, "CLOSE_SECONDS", 1000.0)
        run.settings = replace(settings, patience_seconds=0.1)
        with pytest.raises(StoreError, match="has not answered for 0 s"):
            run.fail(StoreError("so"))
        run.settings = replace(settings, patience_seconds=1000.0)
        started = time.monotonic()
        run.close()
        assert time.monotonic() - started < 5


def test_a_checkpoint_goes_when_the_end_is_recorded_and_not_before(server, settings):
    run = TrialRun(spec_of(), settings, 2)
    run.step()
    run.close()
    bookkeeper = Bookkeeper(settings, Budget())
    with server.away():
        bookkeeper.on_trial_complete(0, [], pruned_trial(settings))
    assert run.checkpoints.location.files() != []
    bookkeeper.on_step_end(0, [])
    assert run.checkpoints.location.files() == []
    assert ResultStore(settings.store).trials().status.tolist() == ["pruned"]


def test_a_checkpoint_that_cannot_be_removed_does_not_end_the_sweep(settings, monkeypatch, caplog):
    TrialRun(spec_of(), settings, 2).close()

    def away(*_: object) -> None:
        raise StorageOutage("s3://b: its region cannot be found")

    monkeypatch.setattr(RunSettings, "checkpoints", away)
    bookkeeper = Bookkeeper(settings, Budget())
    bookkeeper.on_trial_complete(0, [], pruned_trial(settings))
    bookkeeper.on_step_end(0, [])
    assert "the checkpoint of trial" in caplog.text


def test_a_sweep_whose_store_failed_does_not_wait_for_it_again(server, settings, caplog):
    TrialRun(spec_of(), settings, 2).close()
    bookkeeper = Bookkeeper(settings, Budget())
    with server.away():
        bookkeeper.on_trial_complete(0, [], pruned_trial(settings))
        bookkeeper.on_trial_result(0, [], None, {"fatal": True, "failed": "the store failed"})
        with pytest.raises(StoreError, match="the store failed"):
            bookkeeper.on_step_end(0, [])
        started = time.monotonic()
        bookkeeper.on_experiment_end([])
        assert time.monotonic() - started < 10
    assert "count as under way until the next run" in caplog.text


def test_checkpoints_of_ended_trials_go_and_others_stay(server, settings):
    store = ResultStore(settings.store)
    folder = settings.checkpoints("s")
    for trial_id, status in (("t0", "finished"), ("t1", "pruned"), ("t2", "running"), ("t3", "failed")):
        store.writer("s", SCOPE, trial_id).trial({"status": status})
        folder.save(trial_id, {"epoch": 1})
    folder.save("t4", {"epoch": 1})
    folder.remove_ended(store, "s")
    assert folder.location.files() == ["t2.pt", "t3.pt", "t4.pt"]
    with server.away():
        impatient_folder = RunSettings(store=settings.store, patience_seconds=0.0).checkpoints("s")
        impatient_folder.remove_ended(store, "s")


def test_the_next_trial_finds_waiting_files_after_a_stopped_one(server, settings, monkeypatch):
    monkeypatch.setattr(trial_run, "CLOSE_SECONDS", 0.0)
    run = TrialRun(spec_of(), settings, 2)
    run.step()
    with server.away():
        run.step()
        run.close()
    again_soon()
    ResultStore(settings.store).writer("s", SCOPE, "t9")
    assert waiting_files(Location(settings.store)) == []
