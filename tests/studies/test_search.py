"""The searcher and the scheduler against each trap of Ray's OptunaSearch, without a cluster."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState

from sefar.errors import ConfigError, StoreError
from sefar.recipes import recipe
from studies.engine.history import (
    PastTrial,
    check_splits,
    free_numbers,
    may_extend,
    plan_column,
    planned_trials,
    read_history,
)
from studies.engine.pruning import ScopedASHA
from studies.engine.search import SweepSearch
from studies.engine.space import SCOPE_SWEEP, Space
from studies.engine.spec import Axis, Study, TrialSpec
from studies.engine.trial_run import RunSettings, trial_row
from studies.results.store import ResultStore

FX, UB = "synthgym/event:FX@1pc#0", "synthgym/event:UB@1pc#0"
EPOCHS = 8


def make_study(**fields: object) -> Study:
    base = recipe("synthgym_tiny", {"optim.epochs": EPOCHS, "objective.warmup_epochs": 0})
    scopes = Axis(key="scope.name", values=(FX, UB))
    return Study(**({"name": "s", "base": base, "scopes": scopes, "space": SCOPE_SWEEP, "trials": 5} | fields))


def make_search(
    history: list[PastTrial] | None = None, trials: int = 5, journal: object = None, **fields: object
) -> SweepSearch:
    return SweepSearch(make_study(**fields), {FX: trials, UB: trials}, history or [], journal=journal)


def deal(search: SweepSearch, tune_id: str) -> TrialSpec:
    return TrialSpec.from_json(search.suggest(tune_id)["spec"])


def result(epoch: int, value: float, **more: object) -> dict:
    return {"epoch": epoch, "dev_student_top1": value, **more}


def states(search: SweepSearch, scope: str) -> list[TrialState]:
    return [t.state for s in search.scopes if s.scope == scope for t in s.optuna.trials]


def test_named_configurations_come_first_and_scopes_take_turns():
    search = make_search()
    specs = [deal(search, f"t{i}") for i in range(10)]
    assert [s.scope for s in specs] == [FX, UB] * 5
    assert [s.role for s in specs[::2]] == ["default", "supervised", "search", "search", "search"]
    assert [s.number for s in specs[::2]] == [0, 1, 2, 3, 4]
    assert search.left == 0 and search.suggest("t10") == "FINISHED"


def test_each_scope_has_its_own_optuna_study_named_by_scope_and_space():
    names = [s.optuna.study_name for s in make_search().scopes]
    assert names == [f"s/{FX}/{SCOPE_SWEEP.hash}", f"s/{UB}/{SCOPE_SWEEP.hash}"]


def test_outcomes_reach_optuna_as_what_they_are():
    """Complete, pruned by ASHA, failed with an exception, failed with a result, NaN: five states, none left running."""
    search = make_search(trials=8)
    fx = [f"t{i}" for i in range(16) if deal(search, f"t{i}").scope == FX]
    default, supervised, pruned, raised, told, nan = fx[:6]
    search.on_trial_result(default, result(1, 20.0))
    search.on_trial_complete(default, result(EPOCHS, 60.0))
    search.on_trial_complete(supervised, result(EPOCHS, 30.0))  # no point of the space: no Optuna trial
    search.on_trial_result(pruned, result(1, 11.0))
    search.on_trial_result(pruned, result(1, 11.0))  # the same epoch again after a dead worker
    search.on_trial_complete(pruned, result(2, 12.0))
    search.on_trial_complete(raised, error=True)
    search.on_trial_complete(told, {"epoch": 3, "failed": "a clip does not decode", "done": True})
    search.on_trial_result(nan, result(1, math.nan))
    search.on_trial_complete(nan, result(EPOCHS, math.nan))
    assert states(search, FX)[:5] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.FAIL,
        TrialState.FAIL,
    ]
    trials = search.scopes[0].optuna.trials
    assert trials[0].value == 60.0 and trials[0].intermediate_values == {1: 20.0, EPOCHS: 60.0}
    assert trials[1].intermediate_values == {1: 11.0, 2: 12.0} and trials[1].value == 12.0
    assert search.scopes[0].optuna.best_value == 60.0


def test_an_optuna_trial_knows_its_trial_and_its_tune_trial():
    search = make_search()
    spec = deal(search, "tune-7")
    attributes = search.scopes[0].optuna.trials[0].user_attrs
    assert attributes == {"trial_id": spec.trial_id, "tune_trial_id": "tune-7", "role": "default"}
    assert search.scopes[0].optuna.trials[0].params == SCOPE_SWEEP.locate(make_study().config(FX, "default"))


def test_the_searcher_survives_pickling_as_tune_does_it(tmp_path):
    search = make_search()
    deal(search, "a")
    search.save(str(tmp_path / "searcher.pkl"))
    copy = pickle.loads(pickle.dumps(search))
    copy.on_trial_complete("a", result(EPOCHS, 50.0))
    assert states(copy, FX) == [TrialState.COMPLETE] and states(search, FX) == [TrialState.RUNNING]


def run_all(search: SweepSearch, limit: int) -> list[PastTrial]:
    """Run trials one by one; the metric is a function of the configuration."""
    past = []
    for i in range(limit):
        spec = deal(search, f"t{i}")
        value = 50 + 10 * spec.config["perturb"]["strength"] - spec.config["objective"]["gamma_mix"]
        for epoch in range(1, EPOCHS + 1):
            row = result(epoch, value * epoch / EPOCHS)
            search.on_trial_result(f"t{i}", row)
        search.on_trial_complete(f"t{i}", row)
        past.append(PastTrial(spec, "finished", {e: value * e / EPOCHS for e in range(1, EPOCHS + 1)}, 9, "h"))
    return past


def test_a_resumed_search_goes_on_as_the_uninterrupted_one():
    whole = [p.spec for p in run_all(make_search(trials=9), 18)]
    first = run_all(make_search(trials=9), 11)
    rest = run_all(make_search(first, trials=9), 7)
    resumed = [p.spec for p in first + rest]
    by_id = {s.trial_id: s for s in whole}
    assert sorted(by_id) == sorted(s.trial_id for s in resumed)
    assert all(by_id[s.trial_id] == s for s in resumed)


def test_another_seed_searches_elsewhere():
    a, b = (run_all(make_search(trials=4, seed=s), 8) for s in (0, 1))
    assert a[0].spec.parameters == b[0].spec.parameters  # the default
    assert a[4].spec.parameters != b[4].spec.parameters


def test_an_interrupted_trial_comes_first_and_keeps_its_name_and_parameters():
    done = run_all(make_search(trials=4), 6)
    done[4] = PastTrial(done[4].spec, "running", {1: 5.0}, 4, "h")  # FX, number 2
    done[5] = PastTrial(done[5].spec, "pruned", {1: 5.0, 2: 6.0}, 4, "h")
    search = make_search(done, trials=4)
    assert search.left == 1 + 2
    spec = deal(search, "again")
    assert spec == done[4].spec
    search.on_trial_complete("again", result(EPOCHS, 70.0))
    last = search.scopes[0].optuna.trials[-1]
    assert last.state == TrialState.COMPLETE and last.params == done[4].spec.parameters
    assert states(search, UB) == [TrialState.COMPLETE, TrialState.PRUNED]


@pytest.mark.parametrize("lost", [[0], [1], [2, 5], [0, 1, 7]])
def test_a_trial_that_was_dealt_but_never_wrote_its_first_row_is_dealt_again(lost):
    """Both scopes have four trials; those in `lost` (in the order of dealing) left nothing in the store."""
    whole = run_all(make_search(trials=4), 8)
    kept = [p for i, p in enumerate(whole) if i not in lost]
    search = make_search(kept, trials=4)
    assert search.left == len(lost)
    again = [deal(search, f"again{i}") for i in range(len(lost))]
    missing = {(whole[i].spec.trial_id, whole[i].spec.role) for i in lost}
    assert {(s.trial_id, s.role) for s in again} == missing
    assert search.suggest("more") == "FINISHED"


def test_free_numbers():
    past = [PastTrial(make_study().spec(FX, n, "search"), "finished", {}, 5, "h") for n in (0, 3)]
    assert free_numbers(5, past) == [1, 2, 4] and free_numbers(3, past) == [1, 2] and free_numbers(1, past) == []


def test_failed_and_nan_trials_of_the_store_are_failures_for_optuna():
    done = run_all(make_search(trials=4), 6)
    done[4] = PastTrial(done[4].spec, "failed", {}, 4, "")
    done[5] = PastTrial(done[5].spec, "finished", {EPOCHS: math.nan}, 4, "h")
    search = make_search(done, trials=4)
    assert states(search, FX)[-1] == TrialState.FAIL and states(search, UB)[-1] == TrialState.FAIL


def test_ray_own_optuna_search_still_has_the_traps():
    """Should this fail after an update of Ray, our own searcher may have become unnecessary."""
    from ray.tune.search.optuna import OptunaSearch

    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    theirs = OptunaSearch(space, metric="dev_student_top1", mode="max")
    theirs.suggest("stopped")
    theirs.on_trial_complete("stopped", {"dev_student_top1": 1.0, "training_iteration": 1, "done": True})
    assert theirs._ot_study.trials[0].state == TrialState.COMPLETE
    assert "tune_trial_id" not in theirs._ot_study.trials[0].user_attrs


def test_history_comes_from_the_store(tmp_path):
    """A trial that was killed before it knew its split has no split hash, which must not count as a changed one."""
    study, settings = make_study(), RunSettings(store=str(tmp_path / "store"))
    store = ResultStore(settings.store, create=True)
    row = trial_row(study.spec(FX, 0, "default"), settings, 5)
    row |= {"study_hash": study.hash, "space_hash": study.space.hash}
    writer = store.writer("s", FX, study.spec(FX, 0, "default").trial_id)
    writer.trial(row)
    (killed,) = read_history(store, study)
    assert (killed.status, killed.split_hash, killed.planned, killed.values) == ("running", "", 5, {})
    check_splits([killed], {FX: "now"})
    writer.trial(row | {"split_hash": "then", "status": "finished"})
    writer.epoch({"epoch": 1, "dev_student_top1": 12.5})
    history = read_history(store, study)
    assert history[0].values == {1: 12.5} and history[0].value == 12.5
    with pytest.raises(StoreError, match="then → now"):
        check_splits(history, {FX: "now"})
    assert planned_trials(study, history, 0) == {FX: 5, UB: 5}
    assert planned_trials(study, history, 3) == {FX: 8, UB: 5}
    writer.trial(row | plan_column({FX: 9, UB: 9}))
    assert planned_trials(study, read_history(store, study), 0) == {FX: 9, UB: 9}


def test_a_changed_space_is_told_in_words(tmp_path):
    """Older rows have no space in them: then only that it has changed is known."""
    study, settings = make_study(), RunSettings(store=str(tmp_path / "store"), study=make_study().columns)
    store = ResultStore(settings.store, create=True)
    spec = study.spec(FX, 0, "default")
    store.writer("s", FX, spec.trial_id).trial(trial_row(spec, settings, 5))
    assert len(read_history(store, study)) == 1
    threshold = next(p for p in SCOPE_SWEEP.parameters if p.name == "weighting.threshold")
    narrow = Space(tuple(replace(p, low=0.6) if p is threshold else p for p in SCOPE_SWEEP.parameters))
    with pytest.raises(ConfigError) as caught:
        read_history(store, make_study(space=narrow))
    assert str(caught.value) == (
        f"study 's' in {store.uri} searched another space (weighting.threshold 0.5 … 0.95, step 0.05 → 0.6 … "
        "0.95, step 0.05); repeat the old settings, or give the new ones their own --name"
    )
    for changes in ({"space": None}, {"space": '[{"name": "x", "of_a_later_version": 1}]'}):
        store.writer("s", FX, spec.trial_id).trial(trial_row(spec, settings, 5) | changes)
        with pytest.raises(ConfigError, match="searched another space; repeat"):
            read_history(store, make_study(space=narrow))


def tune_trial(spec: TrialSpec) -> SimpleNamespace:
    return SimpleNamespace(trial_id=f"tune-{spec.trial_id}", config={"spec": spec.to_json()})


def feed(asha: ScopedASHA, spec: TrialSpec, values: list[float]) -> int:
    """Report epochs until stopped; the last epoch reported."""
    trial = tune_trial(spec)
    asha.on_trial_add(None, trial)
    for epoch, value in enumerate(values, 1):
        if asha.on_trial_result(None, trial, result(epoch, value)) == "STOP":
            return epoch
    return len(values)


def test_rungs_never_compare_scopes():
    """UB's trials are all worse than FX's and must not be stopped for it."""
    study = make_study()
    asha = ScopedASHA(study, [])
    for n in (2, 3):
        feed(asha, study.spec(FX, n, "search"), [90.0] * 7)
    assert study.grace_epochs == 3
    assert feed(asha, study.spec(UB, 2, "search"), [10.0] * 7) == 7
    assert feed(asha, study.spec(FX, 4, "search"), [10.0] * 7) == 3
    assert feed(asha, study.spec(UB, 3, "search"), [5.0] * 7) == 3


def test_named_configurations_are_never_stopped_and_the_default_sets_the_bar():
    study = make_study()
    asha = ScopedASHA(study, [])
    assert feed(asha, study.spec(FX, 2, "search"), [50.0] * 7) == 7
    assert feed(asha, study.spec(FX, 1, "supervised"), [1.0] * 7) == 7
    assert feed(asha, study.spec(FX, 0, "default"), [40.0] * 7) == 7
    assert feed(asha, study.spec(FX, 3, "search"), [44.0] * 7) == 3  # median of 50 and 40 is 45; 1.0 does not count


def test_rungs_are_filled_from_the_store():
    study = make_study()
    past = [
        PastTrial(study.spec(FX, n, "search"), "finished", dict.fromkeys(range(1, 9), 90.0), 5, "h") for n in (2, 3)
    ]
    asha = ScopedASHA(study, past)
    assert feed(asha, study.spec(FX, 4, "search"), [10.0] * 7) == 3


def test_a_nan_does_not_upset_the_rungs():
    study = make_study()
    asha = ScopedASHA(study, [])
    feed(asha, study.spec(FX, 2, "search"), [math.nan] * 7)
    feed(asha, study.spec(FX, 3, "search"), [60.0] * 7)
    assert feed(asha, study.spec(FX, 4, "search"), [10.0] * 7) == 3


@pytest.mark.parametrize(("epochs", "warmup", "grace"), [(12, 2, 4), (30, 5, 10), (3, 1, 3), (2, 0, 2), (1, 0, 1)])
def test_no_trial_is_stopped_before_pseudo_labels_had_their_say(epochs, warmup, grace):
    base = recipe("synthgym_tiny", {"optim.epochs": epochs, "objective.warmup_epochs": warmup})
    assert make_study(base=base).grace_epochs == grace
    ScopedASHA(make_study(base=base), [])


def test_a_plan_is_extended_only_once_all_of_it_has_ended():
    study = make_study()
    done = [
        PastTrial(study.spec(s, n, "search"), "finished", {}, 2, plans={FX: 2, UB: 2}) for s in (FX, UB) for n in (0, 1)
    ]
    assert may_extend(study, done)
    assert not may_extend(study, done[:3])  # UB's second trial was never dealt
    assert not may_extend(study, done[:2])  # UB was planned, but its turn has not come
    assert not may_extend(study, [*done[:3], replace(done[3], status="running")])
    assert may_extend(study, [replace(past, plans={}) for past in done[:2]])  # UB is new


def left_at(number: int, values: list[float], status: str = "running", role: str = "search") -> PastTrial:
    return PastTrial(make_study().spec(FX, number, role), status, dict(enumerate(values, 1)), 5, "h")


def test_a_trial_left_at_a_rung_gets_the_decision_it_would_have_had():
    """Its run ended between its epoch and the decision; a rung that holds a trial does not decide on it again."""
    study = make_study()
    strong = [left_at(n, [90.0] * 8, "finished") for n in (2, 3)]
    weak = study.spec(FX, 4, "search")
    assert feed(ScopedASHA(study, strong), weak, [10.0] * 7) == study.grace_epochs == 3
    (stopped,) = ScopedASHA(study, [left_at(4, [10.0] * 3), *strong]).stopped
    assert stopped.spec == weak
    for past in (
        left_at(4, [10.0] * 2),  # before the rung
        left_at(4, [10.0] * 4),  # past it: it was let go on
        left_at(4, [95.0] * 3),
        left_at(4, [10.0, 10.0, math.nan]),
        left_at(4, [10.0] * 3, role="default"),
        left_at(4, [10.0] * 3, "pruned"),
        left_at(4, [10.0] * 8),  # only its test is missing
    ):
        assert ScopedASHA(study, [past, *strong]).stopped == []


def test_trials_left_at_a_rung_are_judged_beside_those_that_have_passed_it():
    asha = ScopedASHA(make_study(), [left_at(2, [10.0] * 3), left_at(3, [90.0] * 5), left_at(4, [80.0] * 3)])
    assert [past.spec.number for past in asha.stopped] == [2]
