"""Are pseudo-labels righter where regulation weighs them more, and more so than confidence alone would have it?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from studies.results.figures.regulation import coverage_curve, regulation_cells
from studies.results.figures.style import NothingToDraw
from studies.results.stats.aggregate import stratified_interval
from studies.results.stats.interval import Interval

COVERAGE = 50.0  # percent of the clips that are kept


def selection_table(regulation: pd.DataFrame, coverage: float = COVERAGE) -> pd.DataFrame:
    """How right each trial's pseudo-labels are, all of them and those that a score keeps, in the last epoch recorded.

    Args:
        regulation: rows of ``regulation`` of trials that are alike.
        coverage: percent of the clips that are kept by either score.

    Returns:
        A row a trial: ``scope`` (with its split), ``trial_id``, ``clips`` of known label; in percent ``all``,
        ``weighted`` (by the weights of training), ``by_weight`` and ``by_confidence`` (of the share kept).
    """
    rows = []
    for (scope, trial_id), some in regulation.groupby(["scope", "trial_id"]):
        try:
            cells = regulation_cells(some)
        except NothingToDraw:
            continue
        known = cells[cells.known_clips > 0]
        weight_sum = (known.known_clips * known.weight).sum()
        rows.append(
            {
                "scope": scope,
                "trial_id": trial_id,
                "clips": int(known.known_clips.sum()),
                "all": 100 * known.right_clips.sum() / known.known_clips.sum(),
                "weighted": 100 * (known.right_clips * known.weight).sum() / weight_sum if weight_sum else np.nan,
                "by_weight": accuracy_at(coverage_curve(known, known.weight.to_numpy()), coverage),
                "by_confidence": accuracy_at(coverage_curve(known, known.confidence_low.to_numpy()), coverage),
            }
        )
    columns = ["scope", "trial_id", "clips", "all", "weighted", "by_weight", "by_confidence"]
    return pd.DataFrame(rows, columns=columns)


def accuracy_at(curve: pd.DataFrame, coverage: float) -> float:
    """Accuracy of a coverage curve at one coverage, between its points by the share of right clips.

    Args:
        curve: of `coverage_curve`.
        coverage: percent.
    """
    order = curve.sort_values("coverage")
    right = order.accuracy * order.coverage / 100  # percent of all clips that are kept and right
    kept = np.interp(coverage, [0.0, *order.coverage], [0.0, *right])
    return float(100 * kept / coverage)


def gain(table: pd.DataFrame, one: str, other: str) -> Interval:
    """Mean difference of two columns of `selection_table` over trials, in points; trials of a split resampled together.

    Args:
        table: of `selection_table`, with at least one trial.
        one: column.
        other: column that is taken off.
    """
    known = table.dropna(subset=[one, other])
    difference = (known[one] - known[other]).to_numpy()
    return stratified_interval({"pseudo-labels": difference}, clusters={"pseudo-labels": known.scope.to_numpy()})
