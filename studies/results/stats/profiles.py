"""Performance profiles: which share of runs scores above a threshold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from studies.results.stats.aggregate import RESAMPLES
from studies.results.stats.interval import LEVEL, check_level, widening
from studies.results.stats.resampling import flat, no_interval, strata_of


def performance_profile(
    scores: Mapping[str, ArrayLike],
    thresholds: ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """The share of runs that score above each threshold, with a pointwise band.

    Runs are resampled within their scope; deviations are widened as in `stratified_interval`, with as many degrees of
    freedom as there are runs above one a scope. Where all runs of each scope lie on one side of a threshold, the band
    closes: that says that no run crossed it, not that none would.

    Args:
        scores: one score a run, by scope.
        thresholds: in the scores' unit.
        level: of the band at each threshold by itself.
        resamples: bootstrap samples.
        seed: of the resampling.

    Returns:
        ``threshold``, ``share``, ``low``, ``high``; bounds are NaN when a scope has one run only.

    Raises:
        ValueError: see `stratified_interval`.
    """
    strata = strata_of(scores)
    thresholds_T = np.asarray(thresholds, dtype=float).ravel()
    share_T = (flat(strata)[:, None] > thresholds_T).mean(axis=0)
    table = pd.DataFrame({"threshold": thresholds_T, "share": share_T})
    tail = (1 - check_level(level)) / 2
    if no_interval(strata).startswith("one run"):
        return table.assign(low=np.nan, high=np.nan)
    rng = np.random.default_rng(seed)
    deviation_RT = np.zeros((resamples, len(thresholds_T)))
    total = len(flat(strata))
    for stratum in strata:
        number = len(stratum.scores_N)
        above_NT = (stratum.scores_N[:, None] > thresholds_T).astype(float)
        drawn_RT = rng.multinomial(number, np.full(number, 1 / number), size=resamples) @ above_NT
        deviation_RT += np.sqrt(number / (number - 1)) * (drawn_RT - above_NT.sum(axis=0)) / total
    factor = widening(level, total - len(strata))
    low_T, high_T = share_T + factor * np.quantile(deviation_RT, [tail, 1 - tail], axis=0)
    # a resampled quantile may lie on the estimate's far side where few runs cross the threshold
    return table.assign(low=np.clip(low_T, 0, share_T), high=np.clip(high_T, share_T, 1))
