"""Which parameters of a search matter, by fANOVA and PED-ANOVA through Optuna.

fANOVA (Hutter et al. 2014) fits a forest to the dev accuracy and splits its variance over the whole space; it takes
only parameters that every trial has, so conditional ones are left out of it and assessed among the trials that have
them. PED-ANOVA (Watanabe et al. 2023; conditional: Optuna 5) asks by which parameters the best trials differ from all.

Pruned trials: their last accuracy is of fewer epochs, so fANOVA leaves them out. PED-ANOVA only needs to know which
trials are best, and a pruned trial is none of them; there they count, ranked below every finished one. Leaving them
out would hide the parameters that made trials fail early.

Ranges are those of the trials' values, since the store does not hold the space's.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.ensemble import RandomForestRegressor

from studies.results.leaderboard import search_rows
from studies.results.schema import DEFAULT, FINISHED, METRIC, PRUNED, SEARCH, TRANSFER, text_of

SEARCHED = (SEARCH, TRANSFER, DEFAULT)
LOG_SCALE = ("weighting.kappa", "weighting.alpha", "objective.gamma_unlabelled")  # as studies/engine/space.py has them
LEAST_TRIALS = 5  # finished ones, below which nothing is computed
TRIALS_PER_PARAMETER, ENOUGH_TRIALS = 10, 40  # below either there is a warning; measured, see docs/statistics.md
TOP_TRIALS, TOP_SHARE = 5, 0.1  # PED-ANOVA's best trials: Optuna's share, but at least as many as its docs ask for
TREES = 64


@dataclass(frozen=True)
class Importance:
    """Importance of a scope's parameters.

    Attributes:
        table: ``parameter``, ``fanova``, ``ped_anova``: shares that sum to 1 each, the most important first; ``fanova``
            is NaN for conditional parameters. Empty when there are too few trials.
        warning: why not to trust it, in sentences; None when nothing speaks against it.
        conditional: ``parameter``, ``condition`` (which trials have it), ``trials``, ``fanova`` (share of the variance
            among these trials alone, not to be compared with `table`; NaN with fewer than `LEAST_TRIALS`).
        finished: finished trials.
        pruned: pruned trials, which PED-ANOVA alone counts.
        explained: share of the variance of dev accuracy that a forest foretells for trials it has not seen (out-of-bag
            R²); NaN when not computed.
    """

    table: pd.DataFrame = field(compare=False)
    warning: str | None
    conditional: pd.DataFrame = field(compare=False, repr=False)
    finished: int
    pruned: int
    explained: float


def importance(
    trials_of_one_scope: pd.DataFrame, *, log_scale: Collection[str] = LOG_SCALE, seed: int = 0
) -> Importance:
    """Importance of the parameters that a search varied.

    Args:
        trials_of_one_scope: rows of ``trials`` of one study and scope; confirm trials and the supervised baseline are
            left out.
        log_scale: parameters that the search draws on a logarithmic scale.
        seed: of the forests.

    Raises:
        ValueError: trials of several studies or scopes.
    """
    rows = search_rows(trials_of_one_scope)
    rows = rows[rows.role.isin(SEARCHED)]
    for name in ("study", "scope"):
        if name in rows and rows[name].nunique() > 1:
            shown = ", ".join(sorted(rows[name].unique())[:3])
            raise ValueError(f"trials: expected one {name}, got {shown}; filter them")
    finished = rows[(rows.status == FINISHED) & rows[METRIC].notna()]
    pruned = rows[rows.status == PRUNED]
    points, pruned_points = _points(finished), _points(pruned)
    values = finished[METRIC].to_numpy(dtype=float)
    no_table = pd.DataFrame({name: [] for name in ("parameter", "fanova", "ped_anova")})
    no_conditional = pd.DataFrame({name: [] for name in ("parameter", "condition", "trials", "fanova")})
    if len(points) < LEAST_TRIALS or np.ptp(values) == 0:
        why = f"{len(points)} finished trials: at least {LEAST_TRIALS} are needed for any importance"
        if len(points) >= LEAST_TRIALS:
            why = "all finished trials have the same dev accuracy: there is nothing to explain"
        return Importance(no_table, why, no_conditional, len(points), len(pruned), math.nan)
    space = _distributions([*points, *pruned_points], log_scale)
    common = [name for name in space if all(name in point for point in points)]
    varied = [name for name in common if not space[name].single()]
    fanova = _fanova(points, values, varied, space, seed)
    ped = _ped_anova(points, values, pruned_points, space)
    table = pd.DataFrame({"parameter": list(space)})
    table = table.assign(fanova=table.parameter.map(fanova).astype(float), ped_anova=table.parameter.map(ped))
    table = table.sort_values(["fanova", "ped_anova"], ascending=False, na_position="last", ignore_index=True)
    explained = _explained(points, values, varied, seed)
    conditional = _conditional(points, values, space, [n for n in space if n not in common], seed)
    warning = _warning(len(points), space, [n for n in space if n not in common], explained)
    return Importance(table, warning, conditional, len(points), len(pruned), explained)


def _points(rows: pd.DataFrame) -> list[dict[str, Any]]:
    points = [json.loads(text_of(text) or "{}") for text in rows.parameters]
    # lists, such as frames a granularity, are choices
    return [{n: _choice(v) if isinstance(v, list | dict) else v for n, v in point.items()} for point in points]


def _distributions(points: list[dict[str, Any]], log_scale: Collection[str]) -> dict[str, BaseDistribution]:
    """Each parameter's range, from its values."""
    space: dict[str, BaseDistribution] = {}
    for name in dict.fromkeys(name for point in points for name in point):
        values = [point[name] for point in points if name in point]
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            space[name] = CategoricalDistribution(sorted({_choice(v) for v in values}))
            continue
        log = name in log_scale and min(values) > 0
        if all(isinstance(v, int) for v in values):
            space[name] = IntDistribution(min(values), max(values), log=log)
        else:
            space[name] = FloatDistribution(float(min(values)), float(max(values)), log=log)
    return space


def _choice(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _study(points: list[dict[str, Any]], values: np.ndarray, space: dict[str, BaseDistribution]) -> optuna.Study:
    """The trials as an Optuna study in memory."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for point, value in zip(points, values, strict=True):
        own = {name: space[name] for name in point if name in space}
        plain = {
            name: _choice(point[name]) if isinstance(kind, CategoricalDistribution) else point[name]
            for name, kind in own.items()
        }
        study.add_trial(optuna.trial.create_trial(params=plain, distributions=own, value=float(value)))
    return study


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its log line a study and its warnings, which `Importance.warning` says in our terms."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _fanova(
    points: list[dict[str, Any]], values: np.ndarray, names: list[str], space: dict[str, BaseDistribution], seed: int
) -> dict[str, float]:
    """Shares of these parameters, which every point has and which vary."""
    if not names or np.ptp(values) == 0:
        return {}
    with _quiet():
        study = _study([{n: point[n] for n in names} for point in points], values, space)
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _ped_anova(
    points: list[dict[str, Any]],
    values: np.ndarray,
    pruned: list[dict[str, Any]],
    space: dict[str, BaseDistribution],
) -> dict[str, float]:
    """Shares of all parameters, pruned trials ranked below every finished one."""
    below = np.full(len(pruned), values.min() - 1)
    with _quiet():
        study = _study([*points, *pruned], np.concatenate([values, below]), space)
        share = best_share(len(points), len(pruned))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def best_share(finished: int, pruned: int) -> float:
    """The share of all trials that PED-ANOVA takes for the best ones; Optuna rounds its number of trials up."""
    total = finished + pruned
    top = min(max(TOP_TRIALS, math.ceil(TOP_SHARE * total)), total // 2, finished)
    return (top - 0.5) / total  # top / total may round up to one more


def _explained(points: list[dict[str, Any]], values: np.ndarray, names: list[str], seed: int) -> float:
    """Out-of-bag R² of a forest on these parameters."""
    if not names or len(points) < 2 * LEAST_TRIALS:
        return math.nan
    frame = pd.DataFrame([{n: p[n] for n in names} for p in points])
    encoded = pd.get_dummies(frame, columns=[n for n in names if not pd.api.types.is_numeric_dtype(frame[n])])
    forest = RandomForestRegressor(2 * TREES, oob_score=True, random_state=seed)
    return float(forest.fit(encoded.to_numpy(dtype=float), values).oob_score_)


def _conditional(
    points: list[dict[str, Any]], values: np.ndarray, space: dict[str, BaseDistribution], names: list[str], seed: int
) -> pd.DataFrame:
    """Shares by fANOVA of conditional parameters among the trials that have them, those of one condition together."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        groups.setdefault(tuple(i for i, point in enumerate(points) if name in point), []).append(name)
    rows = []
    for members, own in groups.items():
        mine = [points[i] for i in members]
        shares: dict[str, float] = {}
        if len(mine) >= LEAST_TRIALS:
            everywhere = [n for n in space if all(n in p for p in mine)]
            varied = [n for n in everywhere if len({json.dumps(p[n]) for p in mine}) > 1]
            shares = _fanova(mine, values[list(members)], varied, space, seed)
        condition = _condition(points, set(members))
        rows += [[name, condition, len(mine), shares.get(name, math.nan)] for name in own]
    return pd.DataFrame(rows, columns=["parameter", "condition", "trials", "fanova"])


def _condition(points: list[dict[str, Any]], members: set[int]) -> str:
    """The choice that all members and no others have made, in words; else what is known: that not all have it."""
    for name in points[0]:
        if not all(name in point and isinstance(point[name], str) for point in points):
            continue
        inside = {points[i][name] for i in members}
        outside = {point[name] for i, point in enumerate(points) if i not in members}
        if members and not inside & outside:
            if len(outside) < len(inside):
                return f"{name} ≠ {' or '.join(sorted(outside))}"
            return f"{name} = {' or '.join(sorted(inside))}"
    return f"{len(members)} of {len(points)} trials have it"


def _warning(finished: int, space: dict[str, BaseDistribution], left_out: list[str], explained: float) -> str | None:
    """What speaks against trusting the table."""
    parts = []
    needed = max(ENOUGH_TRIALS, TRIALS_PER_PARAMETER * len(space))
    if finished < needed:
        parts.append(
            f"{finished} finished trials for {len(space)} parameters are too few (wanted: {needed}): only effects well "
            "beyond a trial's noise are ranked reliably, and by PED-ANOVA not even these."
        )
    if explained == explained and explained < 0.1:
        parts.append(
            f"A forest hardly foretells dev accuracy from the parameters (out-of-bag R² {explained:.2f}): fANOVA's "
            "shares then describe noise."
        )
    if left_out and parts:
        parts.append(f"fANOVA leaves out {', '.join(left_out)}, which not all trials have.")
    return " ".join(parts) or None
