"""The benchmark `search`: how much training each way to search needs, with recorded curves in place of training.

Our own searcher and scheduler play, as they do in a sweep, one trial at a time; compute is the recorded seconds of the
epochs that a scope's trials ran until one of them finished at 95 % of the best known dev accuracy or above.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from studies.benchmarks.findings import Case, Figure, Findings, Options
from studies.engine.curves import Curve, curve_study, nearest, read_curves
from studies.engine.history import PastTrial
from studies.engine.pruning import ScopedASHA
from studies.engine.random_point import random_point
from studies.engine.search import CHEAP_FIRST, ROUND_ROBIN, SweepSearch
from studies.engine.spec import NAMED, Axis, Study, TrialSpec
from studies.results.leaderboard import short_scope
from studies.results.schema import FINISHED, METRIC, SEARCH

SHARE = 0.95
TRIALS = 24  # a scope; who has not reached the mark by then counts with all that was spent
TRANSFER = 3
WHOLE, RANDOM_ASHA = "random, full length", "random with ASHA"
OPTUNA_ASHA, OPTUNA_TRANSFER = "Optuna with ASHA", "Optuna with ASHA and transfer"
LATE = ", none stopped before half"


class RandomSearch:
    """Deals random points to the scopes in turn."""

    def __init__(self, study: Study, trials: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._left = [
            (scope, number) for number in range(len(NAMED), trials + len(NAMED)) for scope in study.scopes.values
        ]
        self._study = study

    def suggest(self, trial_id: str) -> Any:
        """The next trial's configuration."""
        if not self._left:
            return Searcher.FINISHED
        scope, number = self._left.pop(0)
        spec = self._study.spec(scope, number, SEARCH, random_point(self._study.space, self._rng))
        return {"spec": spec.to_json()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing to learn."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None) -> None:
        """Nothing to learn."""


@dataclass(frozen=True)
class Outcome:
    """What a search has come to.

    Attributes:
        seconds: of training that it took, summed over scopes, each until its mark was reached.
        missed: scopes whose mark it has not reached.
    """

    seconds: float
    missed: int


def marks_of(curves: Sequence[Curve]) -> dict[str, float]:
    """What a finished trial of each scope has to reach, percent."""
    best: dict[str, float] = {}
    for curve in curves:
        best[curve.scope] = max(best.get(curve.scope, 0.0), curve.dev_student_top1[-1])
    return {scope: SHARE * top1 for scope, top1 in sorted(best.items())}


def luck(study: Study, curves: Sequence[Curve], draws: int = 2000) -> dict[str, float]:
    """By scope, the share of random points that reach its mark."""
    rng = np.random.default_rng(0)
    drawn = [random_point(study.space, rng) for _ in range(draws)]
    found = {}
    for scope, mark in marks_of(curves).items():
        own = [c for c in curves if c.scope == scope]
        found[scope] = sum(nearest(own, point).dev_student_top1[-1] >= mark for point in drawn) / draws
    return found


def play(searcher: Any, scheduler: Any, curves: Sequence[Curve]) -> Outcome:
    """Let a search run until every scope has reached its mark, or it has no trials left."""
    marks = marks_of(curves)
    of_scope = {scope: [c for c in curves if c.scope == scope] for scope in marks}
    # an epoch costs what epochs of its scope mostly cost: what a single run took is the machine's mood
    epoch_seconds = {scope: _epoch_seconds(curves, scope) for scope in marks}
    spent, reached = dict.fromkeys(marks, 0.0), dict[str, float]()
    number = 0
    while len(reached) < len(marks):
        tune_id = f"replay-{number}"
        config = searcher.suggest(tune_id)
        if config == Searcher.FINISHED:
            break
        number += 1
        spec = TrialSpec.from_json(config["spec"])
        curve = nearest(of_scope[spec.scope], spec.parameters)
        epochs, value = _trial(searcher, scheduler, tune_id, config, curve)
        spent[spec.scope] += epochs * epoch_seconds[spec.scope]
        if epochs == len(curve.dev_student_top1) and value >= marks[spec.scope]:
            reached.setdefault(spec.scope, spent[spec.scope])
    seconds = sum(reached.get(scope, spent[scope]) for scope in marks)
    return Outcome(seconds, len(marks) - len(reached))


def _epoch_seconds(curves: Sequence[Curve], scope: str) -> float:
    return statistics.median(curve.epoch_seconds for curve in curves if curve.scope == scope)


def _trial(searcher: Any, scheduler: Any, tune_id: str, config: dict[str, Any], curve: Curve) -> tuple[int, float]:
    """Run one trial as Tune does; the epochs it ran, and its last accuracy."""
    trial = SimpleNamespace(trial_id=tune_id, config=config)
    scheduler.on_trial_add(None, trial)
    result: dict[str, Any] = {}
    for epoch, value in enumerate(curve.dev_student_top1, 1):
        result = {"epoch": epoch, METRIC: value}
        if epoch == len(curve.dev_student_top1):
            break  # Tune asks no scheduler about the last epoch
        searcher.on_trial_result(tune_id, result)
        if scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP:
            break
    searcher.on_trial_complete(tune_id, result)
    return result["epoch"], result[METRIC]


def _without_named(study: Study) -> list[PastTrial]:
    """A history that spares the search the named trials: none of the ways is given the default to begin with."""
    return [
        PastTrial(study.spec(scope, number, role), FINISHED)
        for scope in study.scopes.values
        for number, role in enumerate(NAMED)
    ]


def ways(study: Study, curves: Sequence[Curve], seed: int) -> dict[str, Callable[[], tuple[Any, Any]]]:
    """Makes searcher and scheduler of each way."""
    planned = {scope: TRIALS + len(NAMED) for scope in study.scopes.values}
    costs = {scope: _epoch_seconds(curves, scope) for scope in planned}

    half = -(-study.epochs // 2)

    def optuna(order: str, transfer: int, grace_epochs: int | None = None) -> tuple[Any, Any]:
        searcher = SweepSearch(study, planned, _without_named(study), order=order, transfer=transfer, costs=costs)
        return searcher, ScopedASHA(study, [], grace_epochs)

    return {
        WHOLE: lambda: (RandomSearch(study, TRIALS, seed), FIFOScheduler()),
        RANDOM_ASHA: lambda: (RandomSearch(study, TRIALS, seed), ScopedASHA(study, [])),
        OPTUNA_ASHA: lambda: optuna(ROUND_ROBIN, 0),
        OPTUNA_TRANSFER: lambda: optuna(CHEAP_FIRST, TRANSFER),
        RANDOM_ASHA + LATE: lambda: (RandomSearch(study, TRIALS, seed), ScopedASHA(study, [], half)),
        OPTUNA_ASHA + LATE: lambda: optuna(ROUND_ROBIN, 0, half),
        OPTUNA_TRANSFER + LATE: lambda: optuna(CHEAP_FIRST, TRANSFER, half),
    }


def run(options: Options) -> Findings:
    """Replay every way, each repetition with seeds of its own."""
    curves, repeats = read_curves(options.curves), options.repeats(50, 5)
    outcomes: dict[str, list[Outcome]] = {}
    for seed in range(repeats):
        study = _study_of(curves, seed)
        for way, made in ways(study, curves, seed).items():
            outcomes.setdefault(way, []).append(play(*made(), curves))
    seconds = {way: [outcome.seconds for outcome in found] for way, found in outcomes.items()}
    chances = luck(_study_of(curves, 0), curves)
    scopes = len(chances)
    least = sum(_epoch_seconds(curves, scope) * _study_of(curves, 0).epochs for scope in chances)
    missed = {way: f"{sum(o.missed for o in found)} of {scopes * repeats}" for way, found in outcomes.items()}
    means = {way: f"{statistics.mean(found):.0f} s" for way, found in seconds.items()}
    case = Case(
        f"Training time until a trial reaches {SHARE:.0%} of the best known dev accuracy, summed over {scopes} scopes",
        seconds,
        "search",
        WHOLE,
        notes=(
            f"{len(curves)} recorded curves. A search that misses the mark counts with all it spent. "
            "The figures are ratios of means; the repeats of two ways have nothing in common.",
            "Random points that reach the mark: "
            + ", ".join(f"{short_scope(scope)} {share:.0%}" for scope, share in chances.items())
            + f". One whole run on each scope, the least that a search can take: {least:.0f} s.",
        ),
        columns={"marks missed": missed, "mean": means},
    )
    base = statistics.mean(seconds[WHOLE])

    def ratio(way: str) -> float:
        # of means: a search ends soon or never, so that a median jumps from one to the other
        return statistics.mean(seconds[way]) / base

    return Findings(
        "search",
        [case],
        [
            Figure(name="search_compute_ratio", value=ratio(OPTUNA_ASHA), most=0.25),
            Figure(name="search_least_possible_ratio", value=least / base),
            Figure(name="search_compute_ratio_random_asha", value=ratio(RANDOM_ASHA)),
            Figure(name="search_compute_ratio_transfer", value=ratio(OPTUNA_TRANSFER)),
            Figure(name="search_compute_ratio_transfer_late", value=ratio(OPTUNA_TRANSFER + LATE)),
        ],
    )


def _study_of(curves: Sequence[Curve], seed: int) -> Study:
    """A sweep over the curves' scopes, as long as they are."""
    study = curve_study(seed=seed)
    epochs = {len(curve.dev_student_top1) for curve in curves}
    scopes = tuple(dict.fromkeys(curve.scope for curve in curves))
    return Study(
        name=study.name,
        base=study.base.override({"optim.epochs": max(epochs)}),
        scopes=Axis(key="scope.name", values=scopes),
        space=study.space,
        trials=TRIALS,
        seed=seed,
    )
