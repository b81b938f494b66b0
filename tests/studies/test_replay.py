"""Searches replayed on curves whose outcome can be worked out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray.tune.schedulers import FIFOScheduler

from studies.benchmarks.findings import Options
from studies.engine import replay
from studies.engine.curves import Curve, curve_study, points, write_curves
from studies.engine.pruning import ScopedASHA
from studies.engine.replay import (
    LATE,
    OPTUNA_ASHA,
    OPTUNA_TRANSFER,
    RANDOM_ASHA,
    WHOLE,
    Outcome,
    RandomSearch,
    luck,
    marks_of,
    play,
    ways,
)
from studies.results.schema import SEARCH

SCOPES = curve_study().scopes.values
EPOCHS = curve_study().epochs


def curves_with(best: int, count: int = 12) -> list[Curve]:
    """Flat curves at 20 %, that of point `best` at 80 %."""
    return [
        Curve(scope, point, [80.0 if n == best else 20.0] * EPOCHS, 2.0)
        for scope in SCOPES
        for n, point in enumerate(points(count))
    ]


class Given:
    """Deals given points to all scopes in turn and keeps what it is told."""

    def __init__(self, numbers: list[int]) -> None:
        study = curve_study()
        self.configs = [
            {"spec": study.spec(scope, 10 + n, SEARCH, points(12)[n]).to_json()} for n in numbers for scope in SCOPES
        ]
        self.told: list[tuple[str, int]] = []

    def suggest(self, trial_id: str) -> Any:
        return self.configs.pop(0) if self.configs else "FINISHED"

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.told.append((trial_id, result["epoch"]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any]) -> None:
        self.told.append((trial_id, result["epoch"]))


def test_compute_is_counted_until_each_scope_has_reached_its_mark() -> None:
    searcher = Given([3, 5, 7, 9])
    assert play(searcher, FIFOScheduler(), curves_with(5)) == Outcome(len(SCOPES) * 2 * EPOCHS * 2.0, 0)
    assert len(searcher.configs) == 2 * len(SCOPES)  # the third and fourth points are not asked for
    assert [epoch for name, epoch in searcher.told if name == "replay-0"] == list(range(1, EPOCHS + 1))


def test_a_search_that_misses_the_mark_counts_with_all_it_spent() -> None:
    assert play(Given([3, 7]), FIFOScheduler(), curves_with(5)) == Outcome(len(SCOPES) * 2 * EPOCHS * 2.0, len(SCOPES))


def test_asha_saves_the_epochs_of_poor_trials() -> None:
    study = curve_study()
    whole = play(Given([3, 0, 1, 2, 4, 5]), FIFOScheduler(), curves_with(5))
    # rising curves: the first trial sets the bar, those below it stop at the first rung
    curves = [
        Curve(c.scope, c.parameters, [v - n % 12 * 0.1 for v in c.dev_student_top1], c.epoch_seconds)
        for n, c in enumerate(curves_with(5))
    ]
    pruned = play(Given([0, 1, 2, 3, 4, 5]), ScopedASHA(study, []), curves)
    assert pruned.missed == 0
    assert pruned.seconds == len(SCOPES) * 2.0 * (EPOCHS + 4 * study.grace_epochs + EPOCHS) < whole.seconds


def test_an_early_high_is_not_enough() -> None:
    curves = curves_with(5)
    for curve in curves:
        if curve.dev_student_top1[0] == 20.0:
            curve.dev_student_top1[0] = 100.0
    assert play(Given([3]), FIFOScheduler(), curves).missed == len(SCOPES)


def test_random_search_deals_to_all_scopes_in_turn() -> None:
    searcher = RandomSearch(curve_study(), 2, seed=1)
    specs = [replay.TrialSpec.from_json(searcher.suggest("t")["spec"]) for _ in range(2 * len(SCOPES))]
    assert [spec.scope for spec in specs] == [*SCOPES, *SCOPES] and searcher.suggest("t") == "FINISHED"
    assert len({str(spec.parameters) for spec in specs}) == len(specs)


@pytest.mark.parametrize("way", [WHOLE, RANDOM_ASHA, OPTUNA_ASHA, OPTUNA_TRANSFER])
def test_each_way_plays_to_an_end_and_again_the_same(way: str) -> None:
    curves = curves_with(5)
    study = curve_study(seed=3)
    found = [play(*ways(study, curves, 3)[way](), curves) for _ in range(2)]
    assert found[0] == found[1]
    assert len(SCOPES) * EPOCHS * 2.0 <= found[0].seconds <= len(SCOPES) * replay.TRIALS * EPOCHS * 2.0


def test_no_way_is_given_the_default() -> None:
    curves = curves_with(5)
    searcher, _ = ways(curve_study(), curves, 0)[OPTUNA_ASHA]()
    first = replay.TrialSpec.from_json(searcher.suggest("a")["spec"])
    assert first.role == SEARCH and searcher.left == len(SCOPES) * replay.TRIALS - 1


def test_optuna_with_transfer_takes_the_cheap_scopes_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "TRIALS", 4)
    curves = [
        Curve(c.scope, c.parameters, c.dev_student_top1, 1.0 if c.scope == SCOPES[1] else 9.0) for c in curves_with(5)
    ]
    searcher, scheduler = ways(curve_study(), curves, 0)[OPTUNA_TRANSFER]()
    specs = []
    while (config := searcher.suggest(f"t{len(specs)}")) != "FINISHED":
        specs.append(replay.TrialSpec.from_json(config["spec"]))
        curve = Curve("", {}, [50.0] * EPOCHS, 1.0)
        replay._trial(searcher, scheduler, f"t{len(specs) - 1}", config, curve)
    assert [spec.scope for spec in specs[:4]] == [SCOPES[1]] * 4 and {s.scope for s in specs[4:]} == set(SCOPES) - {
        SCOPES[1]
    }
    assert [spec.role for spec in specs[4:]].count("transfer") == 3 * (len(SCOPES) - 1)


def test_the_benchmark_has_its_figures(tmp_path: Path) -> None:
    write_curves(curves_with(5), tmp_path / "curves.json")
    found = replay.run(Options(quick=True, folder=tmp_path, curves=str(tmp_path / "curves.json")))
    assert [f.name for f in found.figures] == [
        "search_compute_ratio",
        "search_least_possible_ratio",
        "search_compute_ratio_random_asha",
        "search_compute_ratio_transfer",
        "search_compute_ratio_transfer_late",
    ]
    (case,) = found.cases
    late = [way + LATE for way in (RANDOM_ASHA, OPTUNA_ASHA, OPTUNA_TRANSFER)]
    assert list(case.seconds) == [WHOLE, RANDOM_ASHA, OPTUNA_ASHA, OPTUNA_TRANSFER, *late]
    assert {len(seconds) for seconds in case.seconds.values()} == {
        5
    } and f"{12 * len(SCOPES)} recorded curves" in case.notes[0]


def test_how_often_a_random_point_reaches_the_mark() -> None:
    study, curves = curve_study(), curves_with(5)
    assert set(marks_of(curves).values()) == {76.0}
    found = luck(study, curves, draws=300)
    assert set(found) == set(SCOPES) and all(0 < share < 0.4 for share in found.values())
    assert set(luck(study, curves_with(-1), draws=10).values()) == {1.0}  # all are as good
