"""Recorded learning curves: dev accuracy by epoch of random points of the search space, the same points on each scope.

They stand in for training when searches are compared: a point that a search asks for has the curve of the recorded
point that lies nearest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sefar.errors import DataError
from sefar.recipes import recipe
from studies.engine.random_point import random_point
from studies.engine.space import SCOPE_SWEEP, Parameter
from studies.engine.spec import Axis, Study
from studies.presets import preset
from studies.results.schema import FINISHED, METRIC
from studies.results.store import ResultStore

STUDY = "curves"
ONCE = {"evaluation.views": 1, "evaluation.crops": 1}  # of test clips, which nobody reads here
RECORDED = Path(__file__).parents[1] / "benchmarks" / "curves.json"


@dataclass(frozen=True)
class Curve:
    """One recorded trial.

    Attributes:
        scope: label scope.
        parameters: the point of the space.
        dev_student_top1: percent, by epoch.
        epoch_seconds: that an epoch took, evaluation included.
    """

    scope: str
    parameters: dict[str, Any]
    dev_student_top1: list[float]
    epoch_seconds: float


def curve_study(root: str = "data", seed: int = 0) -> Study:
    """The study whose space and scopes the curves are of: the default sweep's trials on scopes of the full sweep.

    Of these `pairs` is left out: in so few steps nobody learns it.
    """
    chosen = preset("default")
    base = recipe(chosen.recipe, {**chosen.overrides, **ONCE, "scope.root": root})
    scopes = Axis(key="scope.name", values=tuple(s for s in preset("full").scopes if "/pairs@" not in s))
    return Study(name=STUDY, base=base, scopes=scopes, space=SCOPE_SWEEP, trials=24, recipe=chosen.recipe, seed=seed)


def points(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Random points of the space."""
    rng = np.random.default_rng(seed)
    return [random_point(SCOPE_SWEEP, rng) for _ in range(count)]


def curves_of_store(uri: str) -> list[Curve]:
    """Curves of all finished trials of a store that have parameters, whatever study they are of.

    Raises:
        DataError: there is none.
    """
    store = ResultStore(uri)
    trials, epochs = store.trials(), store.epochs(columns=[METRIC, "train_seconds", "eval_seconds"])
    found = []
    for row in trials[trials.status == FINISHED].sort_values("trial_id").to_dict("records"):
        parameters = json.loads(row["parameters"])
        own = epochs[(epochs.study == row["study"]) & (epochs.trial_id == row["trial_id"])].sort_values("epoch")
        if parameters and own[METRIC].notna().all() and len(own):
            seconds = float((own.train_seconds + own.eval_seconds.fillna(0)).median())
            values = [round(float(v), 3) for v in own[METRIC]]
            found.append(Curve(row["scope"], parameters, values, round(seconds, 4)))
    if not found:
        raise DataError(f"{uri}: holds no finished trial with searched parameters; record curves with record_curves.py")
    return found


def read_curves(source: str | None = None) -> list[Curve]:
    """Curves of a table that `write_curves` made, or of a result store; None: the recorded ones.

    Raises:
        DataError: the table is damaged.
        StoreError: there is neither.
    """
    path = Path(source) if source is not None else RECORDED
    if source is not None and not path.is_file():
        return curves_of_store(source)
    try:
        return [Curve(**fields) for fields in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected a table of learning curves ({error}); make it with record_curves.py"
        ) from error


def write_curves(curves: Sequence[Curve], path: Path) -> None:
    """Write a table of curves, one a line."""
    lines = ",\n".join(json.dumps(asdict(curve)) for curve in curves)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How far apart two points are: the sum over the parameters that both have, each from 0 to 1."""
    return sum(
        _apart(parameter, one[parameter.name], other[parameter.name])
        for parameter in SCOPE_SWEEP.parameters
        if parameter.name in one and parameter.name in other
    )


def _apart(parameter: Parameter, one: Any, other: Any) -> float:
    if parameter.choices:
        return float(one != other)
    scale = math.log if parameter.log else float
    return abs(scale(one) - scale(other)) / (scale(parameter.high) - scale(parameter.low))


def nearest(curves: Sequence[Curve], parameters: Mapping[str, Any]) -> Curve:
    """The curve whose point lies nearest; the first of equals."""
    return min(curves, key=lambda curve: distance(curve.parameters, parameters))
