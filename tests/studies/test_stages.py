"""The confirm stage: which trials it has, and that what it leaves in the store stays out of the search."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sefar.config import TrainConfig
from sefar.errors import ConfigError
from studies.engine.fixed_search import FixedSearch
from studies.engine.history import PastTrial, free_numbers, planned_trials, read_history
from studies.engine.pruning import ScopedASHA
from studies.engine.search import SweepSearch
from studies.engine.spec import Axis, Study, TrialSpec
from studies.engine.stages import confirm_specs, split_scopes
from studies.engine.trial_run import RunSettings, trial_row
from studies.results.store import ResultStore
from tests.studies.test_search import EPOCHS, FX, UB, deal, feed, make_study, run_all

VALUES = {2: 50.0, 3: 90.0, 4: 70.0, 5: 60.0}


def one_scope(scope: str = FX, **fields: object) -> Study:
    return make_study(scopes=Axis(key="scope.name", values=(scope,)), **fields)


def searched(study: Study, values: dict[int, float] = VALUES, scope: str = FX, trials: int = 6) -> list[PastTrial]:
    """A finished search; the search trials end with these values."""
    search = SweepSearch(study, dict.fromkeys(study.scopes.values, trials), [])
    past = [p for p in run_all(search, trials * len(study.scopes.values)) if p.spec.scope == scope]
    return [replace(p, values={EPOCHS: values.get(p.spec.number, 10.0)}) for p in past]


def confirm(study: Study, history: list[PastTrial], top: int = 2, seeds: int = 2, splits: int = 2) -> list[TrialSpec]:
    return confirm_specs(study, history, top=top, seeds=seeds, splits=splits)


def test_the_best_and_the_named_ones_times_seeds_times_splits():
    study = one_scope()
    history = searched(study)
    specs = confirm(study, history)
    assert len(specs) == 4 * 2 * 2 and len({s.trial_id for s in specs}) == 16
    assert len({s.number for s in specs}) == 16 and not {s.number for s in specs} & set(range(10_000))
    assert {s.stage for s in specs} == {"confirm"}
    assert {s.scope for s in specs} == {"synthgym/event:FX@1pc#1", "synthgym/event:FX@1pc#2"}
    assert [(s.role, s.confirms) for s in specs[:4]] == [
        ("default", ""),
        ("supervised", ""),
        ("search", history[3].spec.trial_id),
        ("search", history[4].spec.trial_id),
    ]
    # whole comparisons first: same split and seed for four trials in a row
    places = [(s.scope, s.config["seed"]) for s in specs]
    assert places == [(f"{FX[:-1]}{split}", seed) for split in (1, 2) for seed in (1, 2) for _ in range(4)]
    best = specs[2]
    assert best.parameters == history[3].spec.parameters
    then, now = (TrainConfig.from_dict(s.config).flatten() for s in (history[3].spec, best))
    assert {key for key in now if now[key] != then[key]} == {"seed", "scope.name"}
    assert specs[1].config["objective"]["gamma_unlabelled"] == 0 and specs[1].parameters == {}
    assert TrialSpec.from_json(best.to_json()) == best


def test_names_do_not_depend_on_the_ranking():
    study = one_scope()
    two = confirm(study, searched(study))
    turned = confirm(study, searched(study, VALUES | {4: 95.0}))

    def named(specs: list[TrialSpec]) -> dict[str, tuple]:
        return {s.trial_id: (s.role, str(s.parameters), s.scope, s.config["seed"]) for s in specs}

    assert named(two) == named(turned) and [s.confirms for s in two] != [s.confirms for s in turned]
    assert two[0].trial_id.endswith(".default.s1.p1") and two[0].trial_id.startswith("s.event-FX-1pc-")


@pytest.mark.parametrize(
    ("scope", "places"),
    [
        ("synthgym/core@1pc#0", ["synthgym/core@1pc#1", "synthgym/core@1pc#2"]),
        ("synthgym/core@0.5#7", ["synthgym/core@0.5#8", "synthgym/core@0.5#9"]),
        ("synthgym/core@1pc", ["synthgym/core@1pc#1", "synthgym/core@1pc#2"]),
        ("synthgym/core", ["synthgym/core"]),
        ("synthgym/core@1#3", ["synthgym/core@1#3"]),
        ("lists:/a/b#1", ["lists:/a/b#1"]),
        ("folders:/a/b@3pc#1", ["folders:/a/b@3pc#2", "folders:/a/b@3pc#3"]),
    ],
)
def test_only_scopes_whose_labels_are_drawn_have_splits(scope, places):
    assert split_scopes(scope, 2) == places
    assert split_scopes(scope, 0) == [scope]


def test_a_scope_without_splits_has_its_seeds_once():
    study = one_scope("synthgym/core")
    specs = confirm(study, [], splits=3, seeds=2)
    assert [(s.role, s.scope, s.config["seed"]) for s in specs] == [
        (role, "synthgym/core", seed) for seed in (1, 2) for role in ("default", "supervised")
    ]


def test_pruned_failed_and_nan_trials_and_doubles_are_not_confirmed():
    study = one_scope()
    history = searched(study)
    history[3] = replace(history[3], status="pruned")
    history[4] = replace(history[4], values={EPOCHS: float("nan")})
    history[2] = replace(history[2], spec=replace(history[2].spec, parameters=history[5].spec.parameters))
    assert {s.confirms for s in confirm(study, history, top=3)} == {"", history[5].spec.trial_id}
    default = study.space.locate(study.config(FX, "default"))
    assert default is not None
    history[5] = replace(history[5], spec=replace(history[5].spec, parameters=default))
    assert {s.confirms for s in confirm(study, history, top=1)} == {"", history[2].spec.trial_id}


def test_what_the_store_holds_is_not_made_anew():
    study = one_scope()
    history = searched(study)
    specs = confirm(study, history)
    begun = [PastTrial(s, "running" if i % 2 else "finished", {}, 0, "h") for i, s in enumerate(specs) if i % 3]
    assert sorted(s.trial_id for s in confirm(study, history + begun)) == sorted(s.trial_id for s in specs)
    again = {s.trial_id: s for s in confirm(study, history + begun)}
    assert all(again[p.spec.trial_id] is p.spec for p in begun)
    assert len({s.number for s in again.values()}) == len(specs)


def test_further_search_only_adds_configurations():
    study = one_scope()
    history = searched(study)
    begun = [PastTrial(s, "finished", {}, 0, "h") for s in confirm(study, history)]
    more = searched(study, VALUES | {6: 95.0, 7: 1.0}, trials=8)
    specs = confirm(study, more + begun)
    assert [s.trial_id for s in specs if s.confirms == more[6].spec.trial_id]
    assert {p.spec.trial_id for p in begun} < {s.trial_id for s in specs} and len(specs) == 16 + 4
    # fewer to confirm than before: what has begun stays in
    assert len(confirm(study, history + begun, top=1)) == 16


def test_two_split_seeds_of_one_scope_share_their_trials():
    study = make_study(scopes=Axis(key="scope.name", values=(FX, FX[:-1] + "1")))
    specs = confirm(study, [], seeds=1, splits=2)
    assert len({s.trial_id for s in specs}) == len(specs) == 2 * 3
    assert {s.scope[-1] for s in specs} == {"1", "2", "3"}


def test_fixed_search_deals_the_given_trials_in_order():
    study = one_scope()
    specs = confirm(study, searched(study))[:3]
    search = FixedSearch(specs, {})
    assert search.left == 3
    dealt = [search.suggest(f"t{i}") for i in range(3)]
    assert [TrialSpec.from_json(d["spec"]) for d in dealt] == specs and [d["planned"] for d in dealt] == [3, 3, 3]
    search.on_trial_complete("t0", error=True)
    assert search.left == 0 and search.suggest("t3") == "FINISHED"
    assert FixedSearch(specs, {specs[0].scope: 9}).suggest("t")["planned"] == 9


@pytest.fixture
def confirmed(tmp_path) -> tuple[Study, ResultStore, list[TrialSpec]]:
    """A store with a search and, in the very same scope, trials that confirm it."""
    study = make_study()
    store = ResultStore(str(tmp_path / "store"), create=True)
    settings = RunSettings(store=store.uri, study=study.columns)
    history = searched(study) + searched(study, scope=UB)
    specs = confirm(study, history, top=1, seeds=1, splits=0)
    for spec in [p.spec for p in history] + specs:
        writer = store.writer("s", spec.scope, spec.trial_id)
        writer.trial(trial_row(spec, settings, 6) | {"status": "finished"})
        writer.epoch({"epoch": EPOCHS, "dev_student_top1": 95.0 if spec.stage == "confirm" else 50.0})
    return study, store, specs


def test_confirm_rows_stay_out_of_the_search(confirmed):
    study, store, specs = confirmed
    history = read_history(store, study)
    assert {p.spec.stage for p in history} == {"search"} and len(history) == 12
    both, apart = read_history(store, study, stage=None), read_history(store, study, stage="confirm")
    assert len(both) == 12 + 6 and sorted((p.spec for p in apart), key=lambda s: s.number) == specs
    assert planned_trials(study, both, 0) == planned_trials(study, history, 0) == {FX: 6, UB: 6}
    assert free_numbers(7, [p for p in both if p.spec.scope == FX]) == [6]
    assert free_numbers(7, [replace(p, spec=replace(p.spec, number=3)) for p in apart]) == list(range(7))
    search = SweepSearch(study, {FX: 7, UB: 7}, both)
    assert search.left == 2 and [len(s.optuna.trials) for s in search.scopes] == [5, 5]
    assert [deal(search, f"t{i}") for i in range(2)] == [
        deal(fresh, f"t{i}") for fresh in [SweepSearch(study, {FX: 7, UB: 7}, history)] for i in range(2)
    ]


def test_settings_are_compared_with_the_search_alone(tmp_path):
    """The seeds of confirm trials are other ones on purpose; here their rows come first."""
    scope = FX[:-1] + "9"
    study = one_scope(scope)
    store = ResultStore(str(tmp_path / "store"), create=True)
    settings = RunSettings(store=store.uri, study=study.columns)
    for spec in [study.spec(scope, 0, "default"), *confirm(study, [], seeds=1, splits=0)]:
        store.writer("s", scope, spec.trial_id).trial(trial_row(spec, settings, 3))
    assert store.trials().stage.tolist() == ["confirm", "confirm", "search"]
    with pytest.raises(ConfigError, match=r"with other settings \(optim.clip_norm 1.0 → 2.0\)"):
        read_history(store, one_scope(scope, base=study.base.override({"optim.clip_norm": 2.0})))


def test_confirm_trials_neither_fill_rungs_nor_are_stopped(confirmed):
    study, store, specs = confirmed
    confirming = [p for p in read_history(store, study, stage=None) if p.spec.stage == "confirm"]
    asha = ScopedASHA(study, [replace(p, values=dict.fromkeys(range(1, EPOCHS + 1), 99.0)) for p in confirming])
    assert feed(asha, study.spec(FX, 7, "search"), [50.0] * 7) == 7
    elsewhere = replace(specs[0], scope="synthgym/event:FX@1pc#9")
    assert feed(asha, specs[2], [1.0] * 7) == 7 and feed(asha, elsewhere, [1.0] * 7) == 7
    assert feed(asha, study.spec(FX, 8, "search"), [10.0] * 7) == 3
