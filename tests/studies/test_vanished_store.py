"""A store's folder that has gone with its mount, or that a node never saw: waited for, never made anew."""

from __future__ import annotations

import platform
import threading
import time
from pathlib import Path

import pytest

from sefar.errors import StoreError
from studies.engine.journal import Journal
from studies.engine.trial_logs import TrialLogs
from studies.engine.trial_run import RunSettings, TrialRun
from studies.results.amendments import Amendments
from studies.results.outage import StorageOutage
from studies.results.store import ResultStore
from tests.studies.test_spool import SCOPE, TOY, again_soon, epoch, impatient
from tests.studies.test_trial_run import spec_of


@pytest.fixture(params=["mount/store", "mount"], ids=["below a mount", "a mount point"])
def place(request, tmp_path, monkeypatch) -> Path:
    impatient(monkeypatch, tmp_path)
    return tmp_path / request.param


def unmount(place: Path) -> Path:
    mount = place if place.name == "mount" else place.parent
    mount.rename(mount.with_name("elsewhere"))
    mount.mkdir()
    return mount


def mount_again(mount: Path) -> None:
    mount.rmdir()
    mount.with_name("elsewhere").rename(mount)


def test_nothing_is_written_into_the_empty_mount_point(place, caplog):
    store = ResultStore(str(place), create=True)
    settings = RunSettings(store=store.uri, workload=TOY, patience_seconds=0.0)
    writer, checkpoints = store.writer("s", SCOPE, "t0"), settings.checkpoints("s")
    journal = Journal.of_store(store.location, "s")
    journal.publish()
    logs, open_logs = TrialLogs(settings.work, "s", "t0"), TrialLogs(settings.work, "s", "t1")
    open_logs.open()
    checkpoints.save("t0", {"epoch": 1})
    mount = unmount(place)

    started = time.monotonic()
    journal.append([{"op_code": 0}])
    journal.trial_ended()
    logs.open()
    for one in (logs, open_logs):
        one.epoch({"epoch": 1, "dev_student_top1": 1.0})
        one.close()
    for number in (1, 2):
        writer.epoch(epoch(number))
        again_soon()
        checkpoints.save("t0", {"epoch": number + 1})
    with pytest.raises(StorageOutage):
        checkpoints.load("t0")
    assert time.monotonic() - started < 10
    assert list(mount.iterdir()) == []
    assert "optuna-dashboard does not see" in caplog.text and "the trial goes on without" in caplog.text

    mount_again(mount)
    again_soon()
    writer.flush(10.0)
    assert store.epochs().epoch.tolist() == [1, 2] and checkpoints.load("t0")["epoch"] == 3


def test_a_trial_waits_for_a_known_store_and_then_names_host_and_mend(place):
    store = ResultStore(str(place), create=True)
    mount = unmount(place)
    settings = RunSettings(store=store.uri, workload=TOY, patience_seconds=1.5)
    started = time.monotonic()
    with pytest.raises(StorageOutage) as caught:
        TrialRun(spec_of(), settings, 2)
    said = str(caught.value)
    assert 0.5 < time.monotonic() - started < 10
    assert f"on host {platform.node()}" in said and "a folder that all nodes share, or s3://" in said
    assert "\n" not in said and list(mount.iterdir()) == []

    back = threading.Timer(0.5, mount_again, [mount])
    back.start()
    TrialRun(spec_of(), RunSettings(store=store.uri, workload=TOY, patience_seconds=30.0), 2).close()
    back.join()
    assert len(store.trials()) == 1


def test_the_driver_bears_it_too(place, monkeypatch):
    monkeypatch.setattr("studies.results.amendments.ONE_TRY_SECONDS", 0.0)
    monkeypatch.setattr("studies.results.amendments.TRY_EVERY_SECONDS", 0.0)
    store = ResultStore(str(place), create=True)
    store.writer("s", SCOPE, "t0").trial({"status": "running", "epochs_done": 2})
    mount = unmount(place)
    amendments = Amendments(store.uri)
    amendments.add("s", SCOPE, "t0", {"status": "pruned"}, {"status": "running"})
    with pytest.raises(StorageOutage, match="1 trials that have ended count as under way until the next run"):
        amendments.settle(0.0)
    assert amendments.written() == [] and list(mount.iterdir()) == []
    mount_again(mount)
    amendments.retry()
    assert [one.trial_id for one in amendments.written()] == ["t0"] and amendments.written() == []
    assert store.trials().status.tolist() == ["pruned"]


def test_a_reader_of_a_place_without_a_store_does_not_wait(tmp_path):
    started = time.monotonic()
    with pytest.raises(StoreError, match="there is no result store"):
        ResultStore(str(tmp_path / "none"))
    assert time.monotonic() - started < 1
