"""In which order scopes get their trials, and what dearer scopes take over from cheaper ones."""

from __future__ import annotations

import optuna

from studies.engine.history import PastTrial
from studies.engine.search import SweepSearch
from studies.engine.spec import Axis, TrialSpec
from tests.studies.test_search import EPOCHS, FX, UB, deal, make_study, result, run_all

BIG = "synthgym/core@1pc#0"
COSTS = {FX: 2.0, UB: 2.0, BIG: 1.0}


def cheap_first(
    history: list[PastTrial] | None = None, *, scopes: tuple[str, ...] = (FX, UB), trials: int = 5, **options: object
) -> SweepSearch:
    study = make_study(scopes=Axis(key="scope.name", values=scopes))
    return SweepSearch(study, dict.fromkeys(scopes, trials), history or [], **({"order": "cheap-first"} | options))


def finish(search: SweepSearch, tune_id: str, value: float, epoch: int = EPOCHS) -> None:
    search.on_trial_complete(tune_id, result(epoch, value))


def test_cheap_first_deals_a_scope_out_before_the_next_and_ties_keep_their_order():
    search = cheap_first(scopes=(UB, FX, BIG), trials=3, costs=COSTS)
    dealt = [deal(search, f"t{i}") for i in range(9)]
    assert [s.scope for s in dealt] == [BIG] * 3 + [UB] * 3 + [FX] * 3
    assert [s.role for s in dealt[3:6]] == ["default", "supervised", "search"]
    assert search.suggest("more") == "FINISHED"
    assert [s.scope for s in cheap_first(scopes=(UB, FX), costs=None).scopes] == [UB, FX]


def dealt_scope(search: SweepSearch, values: list[float]) -> list[TrialSpec]:
    """Deal as many trials as values, then end them with these."""
    specs = [deal(search, f"f{i}") for i in range(len(values))]
    for i, value in enumerate(values):
        finish(search, f"f{i}", value)
    return specs


def test_the_best_of_the_cheaper_scope_are_tried_first():
    search = cheap_first(transfer=2)
    cheap = dealt_scope(search, [99.0, 98.0, 30.0, 50.0, 40.0])  # named ones are run everywhere anyway
    dear = [deal(search, f"u{i}") for i in range(5)]
    assert [s.role for s in dear] == ["default", "supervised", "transfer", "transfer", "search"]
    assert [s.parameters for s in dear[2:4]] == [cheap[3].parameters, cheap[4].parameters]
    assert [s.number for s in dear] == [0, 1, 2, 3, 4] and dear[2].scope == UB
    assert dear[2].config["scope"]["name"] == UB
    trials = search.scopes[1].optuna.trials
    assert [t.user_attrs.get("transferred_from") for t in trials] == [None, cheap[3].trial_id, cheap[4].trial_id, None]
    assert trials[1].params == cheap[3].parameters and trials[1].user_attrs["tune_trial_id"] == "u2"


def test_a_transfer_waits_for_the_cheaper_scope_to_end():
    search = cheap_first(transfer=1)
    for i in range(5):
        deal(search, f"f{i}")
    assert [deal(search, f"u{i}").role for i in range(2)] == ["default", "supervised"]  # these need not wait
    for i, value in ((0, 10.0), (1, 20.0), (2, 30.0), (3, 40.0)):
        finish(search, f"f{i}", value)
        assert search.suggest("early") is None
    search.on_trial_complete("f4", error=True)
    assert deal(search, "u2").role == "transfer"
    assert deal(search, "u3").role == "search"  # without waiting for anybody


def test_only_finished_trials_are_taken_over_and_each_once():
    search = cheap_first(transfer=4, trials=7)
    specs = [deal(search, f"f{i}") for i in range(7)]
    finish(search, "f0", 1.0)
    finish(search, "f1", 1.0)
    finish(search, "f2", 90.0, epoch=3)  # pruned
    search.on_trial_complete("f3", {"epoch": EPOCHS, "failed": "x"})
    finish(search, "f4", float("nan"))
    finish(search, "f5", 20.0)
    finish(search, "f6", 30.0)
    dear = [deal(search, f"u{i}") for i in range(7)]
    assert [s.role for s in dear[2:]] == ["transfer", "transfer", "search", "search", "search"]
    assert [s.parameters for s in dear[2:4]] == [specs[6].parameters, specs[5].parameters]


def test_of_an_earlier_run_too_only_finished_trials_are_taken_over():
    past = run_all(cheap_first(trials=5), 5)
    past[2] = PastTrial(past[2].spec, "pruned", {1: 99.0}, 5, "h")
    past[3] = PastTrial(past[3].spec, "finished", {EPOCHS: float("nan")}, 5, "h")
    past[4] = PastTrial(past[4].spec, "finished", {EPOCHS: 20.0}, 5, "h")
    search = cheap_first(past, transfer=3)
    dear = [deal(search, f"u{i}") for i in range(5)]
    assert [s.role for s in dear[2:]] == ["transfer", "search", "search"]
    assert dear[2].parameters == past[4].spec.parameters


def test_with_several_cheaper_scopes_their_best_come_before_their_second_best():
    search = cheap_first(scopes=(FX, UB, BIG), trials=5, transfer=3)
    first = dealt_scope(search, [1.0, 1.0, 90.0, 80.0, 70.0])
    second = [deal(search, f"u{i}") for i in range(5)]
    assert [s.role for s in second[2:]] == ["transfer"] * 3
    for i, value in enumerate([1.0, 1.0, 10.0, 5.0, 20.0]):  # the ranks differ: 70, 90, 80 of the first scope
        finish(search, f"u{i}", value)
    third = [deal(search, f"b{i}") for i in range(5)]
    assert [s.role for s in third[2:]] == ["transfer"] * 3
    assert [s.parameters for s in third[2:]] == [first[i].parameters for i in (4, 2, 3)]
    attributes = [t.user_attrs.get("transferred_from") for t in search.scopes[2].optuna.trials]
    assert attributes == [None, second[4].trial_id, first[2].trial_id, first[3].trial_id]


def test_a_resumed_sweep_takes_nothing_over_twice():
    whole = [p.spec for p in run_all(cheap_first(transfer=2, trials=6), 12)]
    assert [s.role for s in whole].count("transfer") == 2
    for stop in range(13):
        first = run_all(cheap_first(transfer=2, trials=6), stop)
        rest = run_all(cheap_first(first, transfer=2, trials=6), 12 - stop)
        assert [p.spec for p in first + rest] == whole, stop


def test_an_interrupted_transfer_goes_on_as_itself(tmp_path):
    past = run_all(cheap_first(transfer=1, trials=4, journal=tmp_path / "j"), 7)
    assert past[6].spec.role == "transfer"
    best = max(past[2:4], key=lambda p: p.value).spec
    past[6] = PastTrial(past[6].spec, "running", {1: 5.0}, 4, "h")
    search = cheap_first(past, transfer=1, trials=4, journal=tmp_path / "j")
    assert deal(search, "again") == past[6].spec and past[6].spec.parameters == best.parameters
    assert search.scopes[1].optuna.trials[-1].user_attrs["transferred_from"] == best.trial_id
    assert deal(search, "next").role == "search"


def test_the_default_found_again_by_the_search_is_not_taken_over():
    """It is run in the dearer scope as the default already."""
    study = make_study()
    default = study.space.locate(study.config(FX, "default"))
    assert default is not None
    past = [
        PastTrial(study.spec(FX, 0, "default", default), "finished", {EPOCHS: 50.0}, 3, "h"),
        PastTrial(study.spec(FX, 1, "supervised"), "finished", {EPOCHS: 40.0}, 3, "h"),
        PastTrial(study.spec(FX, 2, "search", default), "finished", {EPOCHS: 50.0}, 3, "h"),
    ]
    search = cheap_first(past, transfer=1, trials=3)
    assert [deal(search, f"u{i}").role for i in range(3)] == ["default", "supervised", "search"]


def test_round_robin_takes_nothing_over():
    search = SweepSearch(make_study(), {FX: 4, UB: 4}, [], transfer=2)
    assert [p.spec.role for p in run_all(search, 8)].count("transfer") == 0
    assert all(isinstance(s.optuna, optuna.Study) for s in search.scopes)
