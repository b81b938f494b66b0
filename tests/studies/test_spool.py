"""Results while the storage is away: kept on this machine, delivered once, never over newer ones."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from sefar.errors import StoreError
from studies.engine import checkpoints
from studies.engine.checkpoints import CheckpointFolder
from studies.engine.trial_run import RunSettings, TrialRun
from studies.results import filesystems, spool
from studies.results.amendments import Amendments
from studies.results.outage import StorageOutage
from studies.results.spool import deliver_leftovers, spool_folder, waiting_files
from studies.results.storage import Location
from studies.results.store import ResultStore
from tests.studies.test_trial_run import spec_of

SCOPE = "synthgym/event:FX@1pc#0"
TOY = "tests.studies.toy:ToyWorkload"
COLUMNS = ["trial_id", "attempt", "epoch", "step", "dev_student_top1"]


@pytest.fixture
def uri(bucket, monkeypatch, tmp_path) -> str:
    impatient(monkeypatch, tmp_path)
    return f"s3://{bucket}/store"


def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Short times, a spool of the test's own, and a process that has met no outage yet."""
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(filesystems, "ATTEMPTS", 1)
    monkeypatch.setattr(checkpoints, "SAVE_SHARE", 1.0)
    monkeypatch.setattr(spool, "WRITE_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(spool, "TRY_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(spool, "TRIES_SHARE", 1.0)
    forget(monkeypatch)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if another process went on."""
    monkeypatch.setattr(spool, "_kept", {})
    monkeypatch.setattr(spool, "_next_try", {})


def epoch(number: int, value: float = 50.0) -> dict:
    return {"epoch": number, "step": 10 * number, "dev_student_top1": value}


def again_soon() -> None:
    time.sleep(0.1)


def waiting(uri: str) -> list[str]:
    home = Location(uri)
    return [path.relative_to(spool_folder(home)).parts[1] for path in waiting_files(home)]


# --- one writer ------------------------------------------------------------------------------------------------------


def test_rows_wait_and_arrive_with_the_next_write(server, uri, caplog):
    store = ResultStore(uri, create=True)
    writer = store.writer("s", SCOPE, "t0")
    writer.trial({"status": "running", "epochs_done": 0})
    with server.away():
        for number in (1, 2, 3):
            writer.epoch(epoch(number))
            writer.trial({"status": "running", "epochs_done": number})
            again_soon()
        assert sorted(waiting(uri)) == ["epochs", "trials"]  # one version of each
    (warning,) = [r.getMessage() for r in caplog.records if "results wait in" in r.getMessage()]
    assert warning.startswith("trial t0: s3://") and "Failed to connect" in warning
    assert store.epochs().empty
    writer.epoch(epoch(4))
    assert waiting(uri) == []
    assert store.epochs().epoch.tolist() == [1, 2, 3, 4] and store.trials().epochs_done.tolist() == [3]
    assert "answers again" in caplog.text
    assert store.problems() == []


def test_while_the_storage_is_away_it_is_not_knocked_at_with_each_write(server, uri, monkeypatch):
    monkeypatch.setattr(spool, "TRY_EVERY_SECONDS", 1000.0)
    store = ResultStore(uri, create=True)
    writer = store.writer("s", SCOPE, "t0")
    tries = []
    write = Location.write

    def counted(self, name, data, **more):
        tries.append(name)
        write(self, name, data, **more)

    monkeypatch.setattr(Location, "write", counted)
    with server.away():
        for number in range(1, 6):
            writer.epoch(epoch(number))
    assert len(tries) == 1 and waiting(uri) == ["epochs"]


def test_a_flush_waits_for_the_storage(server, uri):
    store = ResultStore(uri, create=True)
    writer = store.writer("s", SCOPE, "t0")
    writer.flush(0.0)  # nothing waits
    server.stop()
    writer.epoch(epoch(1))
    writer.trial({"status": "finished", "epochs_done": 1})
    back = threading.Timer(1.0, server.start)
    back.start()
    writer.flush(60.0)
    back.join()
    assert store.epochs().epoch.tolist() == [1] and store.trials().status.tolist() == ["finished"]
    assert waiting(uri) == []


def test_a_flush_without_success_names_the_spool_and_the_next_run_delivers(server, uri, monkeypatch, caplog):
    store = ResultStore(uri, create=True)
    writer = store.writer("s", SCOPE, "t0")
    with server.away():
        writer.epoch(epoch(1))
        with pytest.raises(StoreError, match="run the same command again on this machine") as caught:
            writer.flush(0.3)
        folder = spool_folder(store.location)
        assert str(folder) in str(caught.value) and "1 files of trial t0" in str(caught.value)
        assert "\n" not in str(caught.value) and not isinstance(caught.value, StorageOutage)
    forget(monkeypatch)
    assert ResultStore(uri).epochs().empty  # a reader delivers nothing
    assert ResultStore(uri, create=True).epochs().epoch.tolist() == [1]
    assert not folder.exists() and "1 files that waited" in caplog.text


def test_the_next_trial_on_the_machine_delivers_too_and_counts_what_waits_as_an_attempt(server, uri, monkeypatch):
    store = ResultStore(uri, create=True)
    writer = store.writer("s", SCOPE, "t0")
    with server.away():
        writer.epoch(epoch(1))
    forget(monkeypatch)
    refuse = monkeypatch.context()
    with refuse as patch:
        patch.setattr(spool, "deliver", lambda *_: (_ for _ in ()).throw(StorageOutage("away")))
        assert store.writer("s", SCOPE, "t0").attempt == 2  # attempt 1 is still on its way
    assert store.writer("s", SCOPE, "t1").attempt == 1
    assert store.epochs().trial_id.tolist() == ["t0"] and waiting(uri) == []


def test_a_full_spool_is_explained(server, uri, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "file" / "spool"))
    writer = ResultStore(uri, create=True).writer("s", SCOPE, "t0")
    with (
        server.away(),
        pytest.raises(StoreError, match=r"does not answer, and .* set SEFAR_SPOOL to another") as caught,
    ):
        writer.epoch(epoch(1))
    assert "\n" not in str(caught.value)


def test_what_the_storage_refuses_does_not_wait(uri, monkeypatch):
    writer = ResultStore(uri, create=True).writer("s", SCOPE, "t0")
    monkeypatch.setattr(
        Location, "write", lambda *_, **__: (_ for _ in ()).throw(StoreError("read-only or not permitted"))
    )
    with pytest.raises(StoreError, match="not permitted"):
        writer.epoch(epoch(1))
    assert waiting(uri) == []


def test_the_spool_lies_in_the_cache_folder_unless_told_otherwise(monkeypatch, tmp_path):
    home = Location("s3://bucket/some/store?region=r")
    monkeypatch.delenv("SEFAR_SPOOL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = spool_folder(home)
    assert folder.parent == tmp_path / "cache/sefar/spool" and "bucket-some-store" in folder.name
    assert spool_folder(Location("s3://bucket/some/store?region=other")) == folder
    assert spool_folder(Location("s3://bucket/some/store2?region=r")) != folder


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_checkpoint_waits_and_is_found_again(server, uri):
    ResultStore(uri, create=True)
    folder = CheckpointFolder(Location(uri, patience_seconds=0.3).sibling(".work/checkpoints/s"))
    folder.save("t0", {"epoch": 1})
    with server.away():
        folder.save("t0", {"epoch": 2})
        again_soon()
        folder.save("t0", {"epoch": 3})
        with pytest.raises(StorageOutage):
            folder.load("t0")
    assert folder.load("t0")["epoch"] == 3
    assert waiting_files(Location(uri)) == []


def test_checkpoints_of_short_epochs_are_not_all_put_on_an_object_store(uri, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, "SAVE_SHARE", 1e-9)
    ResultStore(uri, create=True)
    remote = CheckpointFolder(Location(uri).sibling(".work/checkpoints/s"))
    store = ResultStore(str(tmp_path / "store"), create=True)
    local = CheckpointFolder(store.location.sibling(".work/checkpoints/s"))
    for number in (1, 2, 3):
        for folder in (remote, local):
            folder.save("t0", {"epoch": number})
    assert remote.load("t0")["epoch"] == 1 and local.load("t0")["epoch"] == 3
    remote.save("t1", {"epoch": 7})
    assert remote.load("t1")["epoch"] == 7
    monkeypatch.setattr(checkpoints, "LONGEST_GAP_SECONDS", 0.0)
    for number in (8, 9):
        remote.save("t2", {"epoch": number})
    assert remote.load("t2")["epoch"] == 9


def test_rows_arrive_before_the_checkpoint_that_follows_them(server, uri, monkeypatch):
    store = ResultStore(uri, create=True)
    writer = store.writer("s", SCOPE, "t0")
    folder = CheckpointFolder(store.location.sibling(".work/checkpoints/s"))
    with server.away():
        writer.epoch(epoch(1))
    again_soon()
    order = []
    write = Location.write
    monkeypatch.setattr(Location, "write", lambda self, name, *a, **k: (order.append(name), write(self, name, *a, **k)))
    folder.save("t0", {"epoch": 1})
    assert order == ["t0-a1.parquet", "t0.pt"]


def test_a_removed_checkpoint_does_not_come_back(server, uri):
    ResultStore(uri, create=True)
    folder = CheckpointFolder(Location(uri).sibling(".work/checkpoints/s"))
    with server.away():
        folder.save("t0", {"epoch": 1})
        folder.remove("t0")
    ResultStore(uri, create=True)
    assert folder.load("t0") is None


def test_an_older_checkpoint_does_not_replace_a_newer_one(server, uri, monkeypatch):
    """Another machine took the trial up in the meantime."""
    ResultStore(uri, create=True)
    folder = CheckpointFolder(Location(uri).sibling(".work/checkpoints/s"))
    with server.away():
        folder.save("t0", {"epoch": 2})
    (file,) = waiting_files(Location(uri))
    os.utime(file, (time.time() - 100, time.time() - 100))
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("SEFAR_SPOOL", str(file.parents[5] / "elsewhere"))
        forget(monkeypatch)
        CheckpointFolder(Location(uri).sibling(".work/checkpoints/s")).save("t0", {"epoch": 5})
    ResultStore(uri, create=True)
    assert folder.load("t0")["epoch"] == 5 and waiting_files(Location(uri)) == []


# --- several writers -------------------------------------------------------------------------------------------------


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "other machine"))
    forget(monkeypatch)
    return monkeypatch


def back_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))
    forget(monkeypatch)


def test_a_late_row_does_not_undo_what_the_driver_recorded(server, uri, monkeypatch, tmp_path):
    """The driver marks a trial as pruned while its last rows wait on another machine."""
    store = ResultStore(uri, create=True)
    writer = store.writer("s", SCOPE, "t0")
    writer.epoch(epoch(1))
    writer.trial({"status": "running", "epochs_done": 1, "host": "a"})
    with server.away():
        writer.epoch(epoch(2))
        writer.trial({"status": "running", "epochs_done": 2, "host": "a"})
    elsewhere(monkeypatch, tmp_path)
    ResultStore(uri).amend("s", SCOPE, "t0", {"status": "pruned"}, {})
    assert store.trials()[["status", "epochs_done"]].values.tolist() == [["pruned", 1]]
    back_here(monkeypatch, tmp_path)
    store = ResultStore(uri, create=True)
    assert store.trials()[["status", "epochs_done", "host"]].values.tolist() == [["pruned", 2, "a"]]
    assert store.epochs().epoch.tolist() == [1, 2] and store.problems() == []


def test_a_late_row_does_not_replace_one_of_the_same_attempt_that_knows_more(server, uri, monkeypatch, tmp_path):
    """The first attempt's rows all waited on a machine that was lost, so the next attempt has the same number."""
    store = ResultStore(uri, create=True)
    first = store.writer("s", SCOPE, "t0")
    with server.away():
        for number in (1, 2, 3):
            first.epoch(epoch(number, 1.0))
        first.trial({"status": "running", "epochs_done": 3})
        first.write("predictions", [{"part": "test", "clip_id": "old"}])
    elsewhere(monkeypatch, tmp_path)
    second = store.writer("s", SCOPE, "t0")
    assert second.attempt == first.attempt == 1
    second.epoch(epoch(1, 2.0))
    second.epoch(epoch(2, 2.0))
    second.trial({"status": "running", "epochs_done": 2})
    second.write("predictions", [{"part": "test", "clip_id": "new"}])
    back_here(monkeypatch, tmp_path)
    store = ResultStore(uri, create=True)
    assert store.epochs().dev_student_top1.tolist() == [2.0, 2.0, 1.0]  # nothing that had been reported is lost
    assert store.predictions().clip_id.tolist() == ["new"]
    second.epoch(epoch(3, 2.0))
    second.trial({"status": "finished", "epochs_done": 3, "test_student_top1": 9.0})
    assert store.epochs().dev_student_top1.tolist() == [2.0, 2.0, 2.0]
    assert store.trials()[["status", "test_student_top1"]].values.tolist() == [["finished", 9.0]]
    assert waiting(uri) == []


def test_an_older_version_of_the_same_writer_is_dropped(server, uri, tmp_path):
    store = ResultStore(uri, create=True)
    writer = store.writer("s", SCOPE, "t0")
    with server.away():
        writer.epoch(epoch(1))
    (file,) = waiting_files(store.location)
    copy = file.read_bytes()
    again_soon()
    writer.epoch(epoch(2))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(copy)  # as a machine that was switched off in between would still have it
    deliver_leftovers(store.location)
    assert store.epochs().epoch.tolist() == [1, 2] and not file.exists()


def test_a_torn_file_in_the_spool_is_dropped_and_one_in_the_store_replaced(server, uri):
    store = ResultStore(uri, create=True)
    writer = store.writer("s", SCOPE, "t0")
    writer.epoch(epoch(1))
    with server.away():
        writer.epoch(epoch(2))
    (file,) = waiting_files(store.location)
    whole = file.read_bytes()
    file.write_bytes(whole[:50])
    deliver_leftovers(store.location)
    assert store.epochs().epoch.tolist() == [1] and not file.exists()
    store.location.write(writer.path("epochs"), b"torn")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(whole)
    deliver_leftovers(store.location)
    assert store.epochs().epoch.tolist() == [1, 2]


def _keep_and_deliver(uri: str, number: int) -> None:
    spool.TRY_EVERY_SECONDS, spool.WRITE_PATIENCE_SECONDS, spool.TRIES_SHARE = 0.01, 0.0, 1.0
    filesystems.ATTEMPTS = 1
    store = ResultStore(uri, patience_seconds=60.0)
    writer = store.writer("s", SCOPE, f"t{number}")
    for e in range(1, 16):
        writer.epoch(epoch(e))
        writer.trial({"status": "running", "epochs_done": e})
        deliver_leftovers(store.location)  # the other's too
        time.sleep(0.05)
    writer.flush(60.0)


@pytest.mark.slow
def test_processes_that_share_a_spool_lose_nothing(server, uri):
    """Two write, keep and deliver each other's files while the storage comes and goes."""
    store = ResultStore(uri, create=True)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_keep_and_deliver, args=(uri, n)) for n in range(2)]
    for process in writers:
        process.start()
    while any(process.is_alive() for process in writers):
        time.sleep(0.5)
        with server.away():
            time.sleep(0.5)
    assert [process.exitcode for process in writers] == [0, 0]
    assert len(store.epochs()) == 30 and store.trials().epochs_done.tolist() == [15, 15]
    assert store.problems() == [] and waiting_files(store.location) == []


# --- a shared folder -------------------------------------------------------------------------------------------------


def test_a_shared_folder_that_vanishes_is_an_outage_and_nothing_is_written_in_its_place(tmp_path, monkeypatch):
    impatient(monkeypatch, tmp_path)
    store = ResultStore(str(tmp_path / "mount/store"), create=True)
    writer = store.writer("s", SCOPE, "t0")
    folder = CheckpointFolder(store.location.sibling(".work/checkpoints/s"))
    writer.epoch(epoch(1))
    (tmp_path / "mount").rename(tmp_path / "unmounted")
    writer.epoch(epoch(2))
    again_soon()
    folder.save("t0", {"epoch": 2})
    with pytest.raises(StoreError, match="its folder has gone"):
        writer.flush(0.2)
    assert not (tmp_path / "mount").exists()
    (tmp_path / "unmounted").rename(tmp_path / "mount")
    writer.flush(10.0)
    assert store.epochs().epoch.tolist() == [1, 2] and folder.load("t0")["epoch"] == 2


def test_a_stale_handle_sends_rows_and_checkpoint_to_the_spool(tmp_path, monkeypatch):
    impatient(monkeypatch, tmp_path)
    store = ResultStore(str(tmp_path / "store"), create=True)
    writer = store.writer("s", SCOPE, "t0")
    folder = CheckpointFolder(store.location.sibling(".work/checkpoints/s"))
    replace = os.replace

    def stale(source: object, target: object) -> None:
        if "spool" not in str(target):
            raise OSError(116, "Stale file handle")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stale)
        folder.save("t0", {"epoch": 1})
        again_soon()
        writer.epoch(epoch(1))
        assert len(waiting_files(store.location)) == 2
    again_soon()
    writer.epoch(epoch(2))
    assert store.epochs().epoch.tolist() == [1, 2] and folder.load("t0")["epoch"] == 1


# --- a trial and its driver ------------------------------------------------------------------------------------------


def settings_of(uri: str, patience_seconds: float) -> RunSettings:
    return RunSettings(store=uri, workload=TOY, patience_seconds=patience_seconds)


@pytest.mark.slow
def test_a_trial_outlives_an_outage(server, uri, tmp_path):
    """Taken away after its first epoch, back when it has ended: the same rows as without, each once."""
    undisturbed = TrialRun(spec_of(), settings_of(ResultStore(str(tmp_path / "quiet"), create=True).uri, 1.0), 2)
    while not undisturbed.step()["done"]:
        pass
    ResultStore(uri, create=True)
    trial = TrialRun(spec_of(), settings_of(uri, 60.0), 2)
    trial.step()
    server.stop()
    trial.step()
    again_soon()
    back = threading.Timer(1.5, server.start)
    back.start()
    while not trial.step()["done"]:  # the last step waits
        pass
    back.join()
    store, quiet = ResultStore(uri), ResultStore(str(tmp_path / "quiet"))
    pd.testing.assert_frame_equal(store.epochs()[COLUMNS], quiet.epochs()[COLUMNS])
    assert len(store.epochs(all_attempts=True)) == 3 and len(store.predictions()) == len(quiet.predictions())
    row, other = store.trials().iloc[0], quiet.trials().iloc[0]
    same = ["status", "epochs_done", "dev_student_top1", "test_student_top1", "config_hash"]
    assert row[same].tolist() == other[same].tolist() and row.status == "finished"
    assert waiting_files(store.location) == [] and trial.checkpoints.load(trial.spec.trial_id) is None
    trial.close()
    undisturbed.close()


def test_a_trial_whose_storage_stays_away_says_where_its_results_are_and_the_next_run_has_them(
    server, uri, monkeypatch, caplog
):
    ResultStore(uri, create=True)
    trial = TrialRun(spec_of(), settings_of(uri, 0.5), 2)
    trial.step()
    with server.away():
        trial.step()
        again_soon()
        with caplog.at_level(logging.WARNING), pytest.raises(StoreError, match=str(os.environ["SEFAR_SPOOL"])):
            trial.step()
        trial.close()
    forget(monkeypatch)
    store = ResultStore(uri, create=True)
    assert store.epochs().epoch.tolist() == [1, 2, 3] and store.trials().status.tolist() == ["finished"]
    assert store.trials().epochs_done.tolist() == [3] and len(store.predictions()) == 2


def test_the_next_trial_waits_for_the_storage_to_begin(server, uri):
    ResultStore(uri, create=True)
    server.stop()
    back = threading.Timer(1.0, server.start)
    back.start()
    trial = TrialRun(spec_of(), settings_of(uri, 60.0), 2)
    back.join()
    assert ResultStore(uri).trials().trial_id.tolist() == [trial.spec.trial_id]
    trial.close()


def test_a_row_that_waits_on_the_drivers_machine_counts_before_it_is_amended(server, uri, monkeypatch):
    store = ResultStore(uri, create=True, patience_seconds=0.2)
    writer = store.writer("s", SCOPE, "t0")
    writer.trial({"status": "running", "epochs_done": 1})
    with server.away():
        writer.trial({"status": "running", "epochs_done": 2})
        with pytest.raises(StorageOutage):
            store.amend("s", SCOPE, "t0", {"status": "pruned"}, {})
    forget(monkeypatch)
    store.amend("s", SCOPE, "t0", {"status": "pruned"}, {})
    assert store.trials()[["status", "epochs_done"]].values.tolist() == [["pruned", 2]]


def test_the_driver_remembers_how_trials_ended(server, uri):
    store = ResultStore(uri, create=True)
    store.writer("s", SCOPE, "t0").trial({"status": "running", "epochs_done": 2})
    store.writer("s", SCOPE, "t1").trial({"status": "finished", "epochs_done": 3})
    amendments = Amendments(uri)
    with server.away():
        for trial_id in ("t0", "t1", "t2"):
            amendments.add("s", SCOPE, trial_id, {"status": "pruned"}, {"status": "running", "number": 2})
        with pytest.raises(StorageOutage):
            amendments.settle(0.2)
    amendments.settle(10.0)
    rows = store.trials()
    assert rows[["trial_id", "status"]].values.tolist() == [["t0", "pruned"], ["t1", "finished"], ["t2", "pruned"]]
    assert rows.epochs_done.tolist()[:2] == [2, 3] and rows.attempt.tolist() == [1, 1, 1]
