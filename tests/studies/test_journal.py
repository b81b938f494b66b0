"""The Optuna journal in the store: others can open it, and nothing that befalls it reaches the search."""

from __future__ import annotations

import logging
import pickle
import threading
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.trial import TrialState

from sefar.errors import StoreError
from studies.engine.journal import Journal
from studies.engine.search import SweepSearch
from studies.engine.space import SCOPE_SWEEP
from studies.results.storage import Location
from studies.results.store import ResultStore
from tests.studies.s3_server import S3Server, point_to
from tests.studies.test_search import EPOCHS, FX, UB, deal, make_search, make_study, result, run_all


def opened(path: Path) -> dict[str, list[optuna.trial.FrozenTrial]]:
    """What Optuna, and so optuna-dashboard, finds in the file: trials by study."""
    storage = JournalStorage(JournalFileBackend(str(path)))
    return {s.study_name: storage.get_all_trials(s._study_id) for s in storage.get_all_studies()}


def test_optuna_opens_the_journal_and_finds_every_outcome(tmp_path):
    """The traps of Ray's OptunaSearch, on this storage: each state as it is, none left running, each with both ids."""
    path = tmp_path / "s.journal"
    search = make_search(trials=6, journal=path)
    specs = {f"t{i}": deal(search, f"t{i}") for i in range(12)}
    default, _, pruned, raised, told, nan = [t for t, spec in specs.items() if spec.scope == FX]
    search.on_trial_result(default, result(1, 20.0))
    search.on_trial_complete(default, result(EPOCHS, 60.0))
    search.on_trial_result(pruned, result(1, 11.0))
    search.on_trial_result(pruned, result(1, 11.0))  # the same epoch again after a dead worker
    search.on_trial_complete(pruned, result(2, 12.0))
    search.on_trial_complete(raised, error=True)
    search.on_trial_complete(told, {"epoch": 3, "failed": "a clip does not decode", "done": True})
    search.on_trial_complete(nan, result(EPOCHS, float("nan")))
    studies = opened(path)
    assert sorted(studies) == [f"s/{scope}/{SCOPE_SWEEP.hash}" for scope in (FX, UB)]
    trials = studies[f"s/{FX}/{SCOPE_SWEEP.hash}"]
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.PRUNED, *[TrialState.FAIL] * 3]
    assert trials[0].value == 60.0 and trials[0].intermediate_values == {1: 20.0, EPOCHS: 60.0}
    assert trials[1].intermediate_values == {1: 11.0, 2: 12.0}
    ids = [(t.user_attrs["tune_trial_id"], t.user_attrs["trial_id"]) for t in trials]
    assert ids == [(t, specs[t].trial_id) for t in (default, pruned, raised, told, nan)]


def test_the_journal_changes_nothing_about_the_search(tmp_path):
    plain = [p.spec for p in run_all(make_search(trials=7), 14)]
    assert [p.spec for p in run_all(make_search(trials=7, journal=tmp_path / "j"), 14)] == plain


def test_a_resumed_search_rebuilds_the_journal_and_keeps_the_ids_of_tune(tmp_path):
    path = tmp_path / "j"
    first = run_all(make_search(trials=4, journal=path), 5)
    before = {t.user_attrs["trial_id"]: t for trials in opened(path).values() for t in trials}
    search = make_search(first, trials=4, journal=path)
    after = {t.user_attrs["trial_id"]: t for trials in opened(path).values() for t in trials}
    assert after.keys() == before.keys() and len(after) == 3  # two supervised baselines are no points of the space
    for trial_id, trial in before.items():
        again = after[trial_id]
        assert (again.params, again.value, again.state) == (trial.params, trial.value, trial.state)
        assert again.user_attrs == trial.user_attrs and again.intermediate_values == trial.intermediate_values
    spec = deal(search, "new")
    assert opened(path)[f"s/{spec.scope}/{SCOPE_SWEEP.hash}"][-1].user_attrs["tune_trial_id"] == "new"


def test_an_interrupted_trial_keeps_its_earlier_epochs(tmp_path):
    past = run_all(make_search(trials=3), 5)
    past[4] = type(past[4])(past[4].spec, "running", {1: 5.0, 2: 6.0}, 3, "h")
    search = make_search(past, trials=3, journal=tmp_path / "j")
    assert deal(search, "again") == past[4].spec
    search.on_trial_result("again", result(2, 6.0))
    search.on_trial_result("again", result(3, 7.0))
    trial = opened(tmp_path / "j")[f"s/{FX}/{SCOPE_SWEEP.hash}"][-1]
    assert trial.intermediate_values == {1: 5.0, 2: 6.0, 3: 7.0} and trial.state == TrialState.RUNNING


@pytest.mark.parametrize("content", [b"", b'{"op_code": 0, "wor', b"[1]\n{}\n", b'{"op_code": 99}\n', b"\xff\xfe\x00"])
def test_a_torn_or_foreign_journal_is_replaced(tmp_path, content):
    path = tmp_path / "j"
    path.write_bytes(content)
    past = run_all(make_search(trials=3), 4)
    make_search(past, trials=3, journal=path)
    assert sum(map(len, opened(path).values())) == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def scribble(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"op_code": 1, "worker_id": "dashboard", "study_id": 0}\n')


@pytest.mark.parametrize("harm", [cut, scribble, Path.unlink])
def test_a_journal_harmed_under_a_sweep_is_written_anew(tmp_path, harm):
    path = tmp_path / "j"
    search = make_search(trials=3, journal=path)
    deal(search, "a")
    harm(path)
    search.on_trial_complete("a", result(EPOCHS, 50.0))
    (trial,) = opened(path)[f"s/{FX}/{SCOPE_SWEEP.hash}"]
    assert trial.state == TrialState.COMPLETE and trial.value == 50.0


def test_a_lock_left_by_a_kill_holds_nobody_up(tmp_path, monkeypatch):
    path = tmp_path / "j"
    (tmp_path / "j.lock").symlink_to(path)
    for lock in (JournalFileSymlinkLock, JournalFileOpenLock):  # Optuna's own, which wait for 30 s each time
        monkeypatch.setattr(lock, "acquire", lambda self: pytest.fail("waits for a lock"))
    search = make_search(trials=3, journal=path)
    deal(search, "a")
    search.on_trial_complete("a", result(EPOCHS, 50.0))
    assert [f.name for f in sorted(tmp_path.iterdir())] == ["j", "j.lock"]
    assert len(opened(path)[f"s/{FX}/{SCOPE_SWEEP.hash}"]) == 1


def test_a_journal_that_cannot_be_written_costs_one_warning(tmp_path, caplog):
    (tmp_path / "folder").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        specs = [p.spec for p in run_all(make_search(trials=4, journal=tmp_path / "folder" / "j"), 8)]
    assert specs == [p.spec for p in run_all(make_search(trials=4), 8)]
    (record,) = [r for r in caplog.records if "optuna-dashboard" in r.message]
    assert "folder/j" in record.message and "\n" not in record.message


def test_a_journal_is_taken_up_again_when_it_can_be_written(tmp_path):
    (tmp_path / "folder").write_text("in the way")
    search = make_search(trials=3, journal=tmp_path / "folder" / "j")
    deal(search, "a"), deal(search, "b")
    (tmp_path / "folder").unlink()
    search.on_trial_complete("a", result(EPOCHS, 50.0))
    states = [t.state for trials in opened(tmp_path / "folder" / "j").values() for t in trials]
    assert states == [TrialState.COMPLETE, TrialState.RUNNING]


def test_the_journal_lies_in_the_store_and_is_no_part_of_it(tmp_path):
    store = ResultStore(str(tmp_path / "store"), create=True)
    search = make_search(trials=3, journal=store)
    deal(search, "a")
    assert [len(trials) for trials in opened(tmp_path / "store/_optuna/s.journal").values()] == [1, 0]
    again = ResultStore(store.uri)
    assert again.trials().empty and again.problems() == []


def test_the_searcher_pickles_without_its_file_system(tmp_path):
    path = tmp_path / "j"
    search = make_search(trials=3, journal=path)
    deal(search, "a")
    copy = pickle.loads(pickle.dumps(search))
    copy.on_trial_complete("a", result(EPOCHS, 50.0))
    assert [t.state for t in opened(path)[f"s/{FX}/{SCOPE_SWEEP.hash}"]] == [TrialState.COMPLETE]
    assert isinstance(copy._journal.__getstate__()["_location"], str)


class ObjectStore(Location):
    """Stands in for one: files are written whole, when `open` is set, unless it is `broken`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_local, self.broken = False, False
        self.open, self.written = threading.Event(), list[int]()
        self.open.set()

    def write(self, name: str, data: bytes) -> None:
        assert self.open.wait(60)
        self.written.append(len(data))
        if self.broken:
            raise StoreError(f"{self.uri}/{name}: cannot be written")
        Path(self.root, name).parent.mkdir(parents=True, exist_ok=True)
        Path(self.root, name).write_bytes(data)


def settle(journal: Journal | None) -> None:
    assert journal is not None and journal._upload is not None
    journal._upload.join(60)
    assert not journal._upload.is_alive()


def test_in_an_object_store_it_is_uploaded_when_trials_end(tmp_path, caplog):
    """The search waits for no upload; trials that end meanwhile share the next one, and the last is never missed."""
    store = ResultStore(str(tmp_path / "store"), create=True)
    store.location = objects = ObjectStore(tmp_path / "store")
    search = SweepSearch(make_study(trials=9), {FX: 9, UB: 9}, [], journal=store)
    assert len(objects.written) == 1
    objects.open.clear()
    run_all(search, 18)
    objects.open.set()
    settle(search._journal)
    assert len(objects.written) in (2, 3)
    trials = [t for found in opened(tmp_path / "store/_optuna/s.journal").values() for t in found]
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 16
    objects.broken = True
    for _ in range(3):
        search._journal.trial_ended()
        settle(search._journal)
    assert sum("optuna-dashboard" in r.message for r in caplog.records) == 1


@pytest.mark.slow
def test_in_s3_it_can_be_fetched_and_outlasts_an_absence(tmp_path, monkeypatch):
    server = S3Server()
    try:
        point_to(server, monkeypatch)
        bucket = server.bucket()
        store = ResultStore(f"s3://{bucket}/store", create=True)
        first = SweepSearch(make_study(trials=3), {FX: 3, UB: 3}, [], journal=store)
        past = run_all(first, 4)
        settle(first._journal)
        second = SweepSearch(make_study(trials=3), {FX: 3, UB: 3}, past, journal=store)
        with server.away():
            run_all(second, 2)  # which waits for nothing
        settle(second._journal)
        second._journal.trial_ended()
        settle(second._journal)
        server.client().download_file(bucket, "store/_optuna/s.journal", str(tmp_path / "j"))
        trials = [t for found in opened(tmp_path / "j").values() for t in found]
        assert [t.state for t in trials] == [TrialState.COMPLETE] * 4
        assert [t.user_attrs["tune_trial_id"] for t in trials] == ["t0", "t0", "t1", "t1"]
    finally:
        server.stop()
