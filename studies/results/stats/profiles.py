"""Performance profiles: which share of runs scores above a threshold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from studies.results.stats.interval import LEVEL, check_level
from studies.results.stats.resampling import drawn_together, flat, strata_of

COMMON = 0.5  # correlation that scopes are taken to have where they share label splits


def performance_profile(
    scores: Mapping[str, ArrayLike],
    thresholds: ArrayLike,
    *,
    level: float = LEVEL,
    clusters: Mapping[str, ArrayLike] | None = None,
    shared: bool = False,
) -> pd.DataFrame:
    """The share of runs that score above each threshold, with a pointwise band.

    The share is that of the runs. Its band is that of Agresti and Coull (1998) with scopes as strata: each scope's
    share is drawn to ½ by z² more runs over all scopes, at least one a scope, half of them above. So the band does not
    close where all of a few runs lie on one side, as one from resampling would: that no run crossed a threshold does
    not say that none could. With scopes far apart it is wider than need be.

    Args:
        scores: one score a run, by scope.
        thresholds: in the scores' unit.
        level: of the band at each threshold by itself.
        clusters: label split of each run, by scope, where a split has several seeds: a scope then counts as many runs
            as it has splits.
        shared: whether clusters of one name are the same in all scopes (label fractions of one data set); their errors
            are then taken to be correlated by `COMMON`.

    Returns:
        ``threshold``, ``share``, ``low``, ``high``; bounds are NaN when a scope has one run (or cluster) only.

    Raises:
        ValueError: see `stratified_interval`.
    """
    strata = strata_of(scores, clusters)
    thresholds_T = np.asarray(thresholds, dtype=float).ravel()
    share_T = (flat(strata)[:, None] > thresholds_T).mean(axis=0)
    table = pd.DataFrame({"threshold": thresholds_T, "share": share_T})
    z = float(stats.norm.ppf((1 + check_level(level)) / 2))
    if min(len(stratum.keys) for stratum in strata) < 2:
        return table.assign(low=np.nan, high=np.nan)
    total, more = len(flat(strata)), max(1.0, z**2 / len(strata))
    errors, drawn_T = [], np.zeros(len(thresholds_T))
    for stratum in strata:
        number, weight = len(stratum.keys), len(stratum.scores_N) / total
        above_T = (stratum.scores_N[:, None] > thresholds_T).mean(axis=0)
        near_T = (number * above_T + more / 2) / (number + more)
        drawn_T += weight * near_T
        errors.append(weight * np.sqrt(near_T * (1 - near_T) / (number + more)))
    variance_T = np.zeros(len(thresholds_T))
    for group in drawn_together(strata, shared):
        common = COMMON if len(group) > 1 else 0.0
        own = np.array([errors[at] for at in group])
        variance_T += (1 - common) * (own**2).sum(axis=0) + common * own.sum(axis=0) ** 2
    low_T = np.minimum(share_T, drawn_T) - z * np.sqrt(variance_T)
    high_T = np.maximum(share_T, drawn_T) + z * np.sqrt(variance_T)
    return table.assign(low=np.clip(low_T, 0, 1), high=np.clip(high_T, 0, 1))
