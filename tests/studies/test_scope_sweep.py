"""The sweep end to end: run, run again, extend, stop, kill, resume, fail. Training is a toy with known numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from sefar.errors import ConfigError, SefarError, StoreError
from sefar.recipes import recipe
from studies.results.leaderboard import failures
from studies.results.store import ResultStore
from tests.studies.sweeps import BROKEN, FX, ROOT, UB, make_study, sweep
from tests.studies.toy import ToyTrainer


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    import ray

    from studies.engine.session import QUIET

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), **QUIET}},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def swept(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("swept") / "store"
    sweep(path)
    return path


@pytest.mark.ray
def test_a_sweep_leaves_every_trial_in_the_store(swept):
    store = ResultStore(str(swept))
    trials, epochs = store.trials(), store.epochs()
    assert trials.groupby("scope").size().to_dict() == {FX: 4, UB: 4}
    assert trials.groupby("role").size().to_dict() == {"default": 2, "search": 4, "supervised": 2}
    assert set(trials.status) <= {"finished", "pruned"}
    assert (trials[trials.role != "search"].status == "finished").all()
    for row in trials.itertuples():
        curve = epochs[epochs.trial_id == row.trial_id].epoch.tolist()
        assert curve == list(range(1, row.epochs_done + 1))
        assert row.epochs_done == 6 or (row.status == "pruned" and 2 <= row.epochs_done < 6)
    assert trials.split_hash.eq("toy-0").all() and trials.error.isna().all() and (trials.attempt == 1).all()
    assert trials.ray_version.notna().all() and (trials["config.optim.epochs"] == 6).all()
    finished = set(trials[trials.status == "finished"].trial_id)
    assert set(store.predictions().trial_id) == finished
    assert trials[trials.status == "pruned"].test_student_top1.isna().all()
    assert store.problems() == []
    assert not list(swept.with_name("store.work").rglob("*.pt"))  # ended trials leave no checkpoint


@pytest.mark.ray
def test_the_named_configurations_are_what_they_say(swept):
    trials = ResultStore(str(swept)).trials(scope=FX).set_index("role")
    assert trials.loc["supervised", "test_student_top1"] == 40.0
    default = recipe("synthgym_tiny", {"optim.epochs": 6, "objective.warmup_epochs": 0, "scope.name": FX})
    assert trials.loc["default", "test_student_top1"] == ToyTrainer(default).ceiling == 68.0
    assert trials.loc["default", "config_hash"] == default.content_hash()


@pytest.mark.ray
def test_a_second_run_says_that_all_is_done(swept):
    before = {f: f.stat().st_mtime_ns for f in swept.rglob("*.parquet")}
    _, said = sweep(swept)
    assert said == ["study 's' is already complete: 8 trials; use --extend N for N more a scope"]
    assert before == {f: f.stat().st_mtime_ns for f in swept.rglob("*.parquet")}


@pytest.mark.ray
def test_other_settings_under_the_same_name_are_refused(swept):
    for study, text in (
        (make_study(epochs=7), "optim.epochs 6 → 7"),
        (make_study(base=recipe("synthgym_tiny", {"optim.epochs": 6})), "objective.warmup_epochs 0 → 1"),
        (make_study(seed=5), "another search seed"),
    ):
        with pytest.raises(ConfigError, match=text):
            sweep(swept, study)
    with pytest.raises(ConfigError, match="did you mean 's'"):
        sweep(swept, make_study(name="ss"), resume=True)


@pytest.mark.ray
def test_changed_data_is_noticed(swept, monkeypatch):
    monkeypatch.setenv("TOY_SPLIT", "1")
    with pytest.raises(StoreError, match=r"clips or labels have changed .*toy-0 → toy-1"):
        sweep(swept, make_study(trials=5))


@pytest.mark.ray
def test_extending_adds_trials_and_leaves_the_old_ones(ray_session, tmp_path):
    store, _ = sweep(tmp_path / "store", make_study(trials=2))
    old = store.trials()
    store, said = sweep(tmp_path / "store", make_study(trials=2), extend=2)
    assert "4 of 8 trials are done, 4 to run" in said[0]
    new = store.trials()
    assert new.groupby("scope").number.apply(list).to_dict() == {FX: [0, 1, 2, 3], UB: [0, 1, 2, 3]}
    pd.testing.assert_frame_equal(new[new.number < 2].reset_index(drop=True)[old.columns], old)
    _, said = sweep(tmp_path / "store", make_study(trials=2))
    assert "already complete: 8 trials" in said[0]


@pytest.mark.ray
def test_a_clip_that_does_not_decode_fails_its_trials_only(ray_session, tmp_path):
    store, _ = sweep(tmp_path / "store", make_study(scopes=(BROKEN, FX), trials=3))
    trials = store.trials()
    assert trials[trials.scope == FX].status.isin(["finished", "pruned"]).all()
    broken = trials[trials.scope == BROKEN]
    assert (broken.status == "failed").all() and broken.error.str.contains("clips/a.mp4: frame 3").all()
    assert (broken.error.str.count("\n") == 0).all()
    assert "the paper's default of scope 'synthgym/set:broken' failed" in (failures(trials) or "")
    _, said = sweep(tmp_path / "store", make_study(scopes=(BROKEN, FX), trials=3))
    assert "3 of them failed: --retry-failed" in said[0]
    _, said = sweep(tmp_path / "store", make_study(scopes=(BROKEN, FX), trials=3), retry_failed=True)
    assert "3 to run" in said[0]
    assert store.trials(scope=BROKEN).attempt.tolist() == [2, 2, 2]


@pytest.mark.ray
def test_a_store_that_fails_stops_the_sweep(ray_session, tmp_path):
    """The checkpoint folder is a file, so no trial can save: one error, not one a trial."""
    (tmp_path / "store.work").mkdir()
    (tmp_path / "store.work/checkpoints").write_text("in the way")
    with pytest.raises(SefarError, match=r"store\.work"):
        sweep(tmp_path / "store")
    trials = ResultStore(str(tmp_path / "store")).trials()
    assert len(trials) <= 2 and (trials.status == "running").all()
    (tmp_path / "store.work/checkpoints").unlink()
    store, said = sweep(tmp_path / "store")
    assert "taken up where they stopped" in said[0]
    assert store.trials().groupby("scope").size().to_dict() == {FX: 4, UB: 4}


@pytest.mark.ray
def test_too_much_concurrency_is_refused(ray_session, tmp_path):
    with pytest.raises(ConfigError, match="--concurrency 64: at most 2 trials run at once on 2 CPUs"):
        sweep(tmp_path / "store", concurrency=64)
    with pytest.raises(ConfigError, match="has 0 GPUs"):
        sweep(tmp_path / "store", gpus_per_worker=0.5)


@pytest.mark.ray
def test_a_used_up_budget_stops_cleanly_and_the_sweep_goes_on_later(ray_session, tmp_path, monkeypatch):
    """The budget ends with the seventh epoch instead of by the clock."""
    from studies.engine import execution
    from studies.engine.budget import Budget

    class SevenEpochs(Budget):
        epochs = 0

        @property
        def used_up(self) -> bool:
            return self.epochs >= 7

        def __call__(self, trial_id, result):
            self.epochs += 1
            return super().__call__(trial_id, result)

    monkeypatch.setattr(execution, "Budget", SevenEpochs)
    study = make_study(trials=4)
    store, said = sweep(tmp_path / "store", study, budget_hours=1.0)
    assert said[-1] == "the budget of 1 hours is used up; the same command goes on from here"
    before = store.trials()
    assert len(store.epochs()) in (7, 8)  # the other trial at the same time finishes its epoch
    assert len(before) < 8 and "running" in set(before.status) and "pruned" not in set(before.status)
    monkeypatch.undo()
    store, said = sweep(tmp_path / "store", study)
    assert "taken up where they stopped" in said[0]
    after = store.trials()
    assert after.groupby("scope").size().tolist() == [4, 4] and after.status.isin(["finished", "pruned"]).all()
    assert len(store.epochs(all_attempts=True)) == len(store.epochs())  # no epoch was trained twice


@pytest.mark.ray
def test_a_budget_that_ends_on_a_rung_costs_no_decision(ray_session, tmp_path, monkeypatch):
    """One trial at a time: the interrupted sweep comes to the same rows as the whole one."""
    from studies.engine import execution
    from studies.engine.budget import Budget

    columns = ["trial_id", "status", "epochs_done", "dev_student_top1", "parameters", "attempt"]
    study = make_study(scopes=(FX,), trials=6)
    whole = sweep(tmp_path / "whole", study, concurrency=1)[0].trials().sort_values("number")
    at = (whole.status == "pruned").to_numpy().argmax()
    assert whole.status.iloc[at] == "pruned"
    last = int(whole.epochs_done.iloc[: at + 1].sum())

    class Epochs(Budget):
        """Ends with the epoch after which the whole sweep stopped its first trial."""

        epochs = 0

        @property
        def used_up(self) -> bool:
            return self.epochs >= last

        def __call__(self, trial_id, result):
            self.epochs += 1
            return super().__call__(trial_id, result)

    monkeypatch.setattr(execution, "Budget", Epochs)
    store, said = sweep(tmp_path / "store", study, concurrency=1, budget_hours=1.0)
    assert "used up" in said[-1] and store.trials().status.tolist().count("running") == 1
    monkeypatch.undo()
    store, said = sweep(tmp_path / "store", study, concurrency=1)
    assert "1 of them is pruned at the rung where the last run ended" in said
    again = store.trials().sort_values("number")
    pd.testing.assert_frame_equal(again[columns], whole[columns])
    assert not list((tmp_path / "store.work").rglob("*.pt"))


@pytest.mark.ray
def test_a_budget_of_nothing_and_a_budget_just_enough(ray_session, tmp_path, monkeypatch):
    study, over = make_study(scopes=(FX,), trials=2), "used up; the same command goes on from here"
    store, said = sweep(tmp_path / "store", study, budget_hours=0.0)
    assert said[-1].endswith(over) and store.trials().empty
    from studies.engine import execution
    from studies.engine.budget import Budget

    class Exact(Budget):
        ended = 0

        @property
        def used_up(self) -> bool:
            return self.ended >= 2

        def __call__(self, trial_id, result):
            self.ended += bool(result.get("done"))
            return super().__call__(trial_id, result)

    monkeypatch.setattr(execution, "Budget", Exact)
    store, said = sweep(tmp_path / "store", study, budget_hours=1.0)
    assert store.trials().status.tolist() == ["finished"] * 2 and not any(over in line for line in said)


@pytest.mark.ray
def test_the_best_are_confirmed_over_seeds_and_splits_and_only_they_are_tested(ray_session, tmp_path):
    study = make_study(scopes=(FX,), trials=4)
    store, said = sweep(tmp_path / "store", study, confirm=1, confirm_seeds=2, confirm_splits=2)
    rows = store.trials()
    search, confirm = rows[rows.stage == "search"], rows[rows.stage == "confirm"]
    assert len(search) == 4 and search.test_student_top1.isna().all()
    assert (confirm.status == "finished").all() and confirm.test_student_top1.notna().all()
    best = search[search.status == "finished"].sort_values("dev_student_top1").iloc[-1]
    named = {"default", "supervised"}
    configurations = len({best.trial_id, *search[search.role.isin(list(named))].trial_id})
    assert len(confirm) == configurations * 4
    assert set(confirm.scope) == {FX.replace("#0", "#1"), FX.replace("#0", "#2")} and confirm.train_seed.nunique() == 2
    assert confirm.trial_id.is_unique and (confirm.epochs_done == 6).all()
    assert any("confirming" in line for line in said)
    _, said = sweep(tmp_path / "store", study, confirm=1, confirm_seeds=2, confirm_splits=2)
    assert "already complete" in said[0] and said[-1].endswith("all done")
    store, said = sweep(tmp_path / "store", study, confirm=1, confirm_seeds=3, confirm_splits=2)
    assert f"{configurations * 6} trials over 2 scopes, {configurations * 2} to run" in "\n".join(said)
    assert store.trials().trial_id.is_unique and len(store.trials()) == 4 + configurations * 6


@pytest.mark.ray
def test_a_store_that_a_node_does_not_see_is_refused_before_anything_starts(ray_session, tmp_path, monkeypatch):
    monkeypatch.setattr("studies.engine.shared_folder._sees", lambda path: ("node-b", False))
    said = rf"^{tmp_path}/store: node node-b does not see this folder; give --store a folder that all nodes share"
    with pytest.raises(StoreError, match=said):
        sweep(tmp_path / "store", address="auto")
    assert ResultStore(str(tmp_path / "store")).trials().empty
    assert not list(tmp_path.rglob(".probe-*"))
