"""The search's order, its journal and the confirm stage in a real sweep. Training is a toy with known numbers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from optuna.trial import TrialState

from sefar.recipes import recipe
from studies.engine.space import SCOPE_SWEEP
from studies.results.confirm import confirmed
from studies.results.leaderboard import print_report
from studies.results.store import ResultStore
from tests.studies.sweeps import FX, UB, make_study, sweep
from tests.studies.test_journal import opened
from tests.studies.test_scope_sweep import ray_session  # noqa: F401

PATIENT = recipe("synthgym_tiny", {"optim.epochs": 6, "objective.warmup_epochs": 4})
"""Which trials are stopped early depends on who comes first; with so long a warm-up none is."""
STAGES = {"scope_order": "cheap-first", "transfer": 2, "confirm": 1, "confirm_seeds": 2, "confirm_splits": 1}


@pytest.fixture(scope="module")
def staged(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    path = tmp_path_factory.mktemp("staged") / "store"
    sweep(path, make_study(trials=5, base=PATIENT), **STAGES)
    return path


@pytest.mark.ray
def test_a_dearer_scope_begins_with_the_best_of_the_cheaper(staged):
    trials = ResultStore(str(staged)).trials()
    search = trials[trials.stage == "search"]
    (costly,) = search[search.role == "transfer"].scope.unique()
    cheap, dear = search[search.scope != costly], search[search.scope == costly]
    found = cheap[(cheap.role == "search") & (cheap.status == "finished")].sort_values(
        ["dev_student_top1", "number"], ascending=[False, True]
    )
    taken = dear[dear.role == "transfer"].sort_values("number")
    assert len(found) == 3 and taken.number.tolist() == [2, 3]
    assert taken.parameters.tolist() == found.parameters.tolist()[:2]
    assert len(cheap) == len(dear) == 5 and taken.started_at.min() >= cheap.started_at.max()


@pytest.mark.ray
def test_the_journal_of_a_sweep_says_what_the_store_says(staged):
    trials = ResultStore(str(staged)).trials()
    rows = trials[(trials.stage == "search") & (trials.role != "supervised")].set_index("trial_id")
    studies = opened(staged / "_optuna" / "s.journal")
    assert sorted(studies) == sorted(f"s/{scope}/{SCOPE_SWEEP.hash}" for scope in (FX, UB))
    told = {t.user_attrs["trial_id"]: t for found in studies.values() for t in found}
    assert told.keys() == set(rows.index)
    for trial_id, trial in told.items():
        row = rows.loc[trial_id]
        assert row.status == "finished" and trial.state == TrialState.COMPLETE and trial.value == row.dev_student_top1
        assert sorted(trial.intermediate_values) == list(range(1, row.epochs_done + 1))
        assert trial.user_attrs["tune_trial_id"] and ("transferred_from" in trial.user_attrs) == (
            row.role == "transfer"
        )


@pytest.mark.ray
def test_the_confirm_stage_follows_and_alone_sees_the_test_clips(staged):
    trials = ResultStore(str(staged)).trials()
    search, confirm = trials[trials.stage == "search"], trials[trials.stage == "confirm"]
    assert search.test_student_top1.isna().all() and confirm.test_student_top1.notna().all()
    assert (confirm.status == "finished").all() and (confirm.epochs_done == 6).all()
    assert set(confirm.scope) == {f"{scope[:-1]}1" for scope in (FX, UB)}
    assert confirm.groupby(["scope", "role"]).train_seed.apply(list).map(sorted).tolist() == [[1, 2]] * 6
    for scope in (FX, UB):
        best = search[(search.scope == scope) & (search.status == "finished") & ~search.role.isin(["default"])]
        (row,) = confirmed(trials, scope).query("role == 'search'").to_dict("records")
        assert row["confirms"] == best.sort_values(["dev_student_top1", "number"]).trial_id.iloc[-1]
        assert row["n"] == row["test_pairs"] == 2 and math.isfinite(row["test_gain_mean"])
    said: list[str] = []
    print_report(trials, [FX, UB], said.append)
    assert len(said) == 4 and "test %" not in said[0] and "test %" in said[2]


@pytest.mark.ray
def test_the_same_command_again_finds_both_stages_done_and_more_search_confirms_more_only(staged):
    before = {f: f.stat().st_mtime_ns for f in staged.rglob("*.parquet")}
    _, said = sweep(staged, make_study(trials=5, base=PATIENT), **STAGES)
    assert "already complete" in said[0] and "all done" in said[1]
    store, _ = sweep(staged, make_study(trials=5, base=PATIENT), extend=1, **STAGES)
    assert {f: f.stat().st_mtime_ns for f in before} == before
    trials = store.trials()
    assert (trials.stage == "search").sum() == 12 and (trials.status == "finished").all()
    assert (trials.stage == "confirm").sum() in (12, 14, 16) and not trials.number[
        trials.stage == "confirm"
    ].duplicated().any()
