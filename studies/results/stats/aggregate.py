"""Means over runs with stratified bootstrap intervals.

Strata are label scopes: runs are resampled within each, since which scopes a study has is not left to chance. Plain
percentile intervals are too narrow at the usual three to five seeds, for two reasons that are mended apart: the
resampled variance is (n − 1)/n of the true one (see `resampling`), and a spread estimated from few runs is itself
uncertain, which widens the interval by Student's t over the normal quantile at Satterthwaite's degrees of freedom.
`studies.results.stats.coverage` measures what comes of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from studies.results.stats.interval import LEVEL, Interval, check_level, from_draws, unknown
from studies.results.stats.resampling import Statistic, flat, freedom, no_interval, resampled, strata_of

RESAMPLES = 2000


def mean(scores: ArrayLike, axis: int = -1, weights: ArrayLike | None = None) -> np.ndarray:
    """Mean over all runs; a scope with more runs weighs more.

    Args:
        scores: of runs.
        axis: over which.
        weights: of N runs in one or several samples, of shape (…, N), each summing to 1; the scores are N then. None:
            every run counts alike.
    """
    if weights is not None:
        return np.asarray(np.asarray(weights) @ np.asarray(scores, dtype=float))
    return np.asarray(np.mean(np.asarray(scores, dtype=float), axis=axis))


def interquartile_mean(scores: ArrayLike, axis: int = -1, weights: ArrayLike | None = None) -> np.ndarray:
    """Mean of the middle half of the sorted scores, a quarter left out at either end.

    Where a quarter is not a whole number of runs, the run at the edge counts in part: run i of N covers the shares
    i/N to (i + 1)/N and weighs what of that lies between ¼ and ¾. (`scipy.stats.trim_mean` leaves out ⌊N/4⌋ whole runs
    instead, so that its result jumps with N.) Of one run it is that run, of two or three it leans to the middle.

    Args:
        scores: of runs.
        axis: over which.
        weights: see `mean`; a run then covers a share as large as its weight.
    """
    if weights is not None:
        one_N, weights_RN = np.asarray(scores, dtype=float), np.asarray(weights, dtype=float)
        order = np.argsort(one_N, kind="stable")
        upto = np.cumsum(weights_RN[..., order], axis=-1)
        edges = np.clip(np.concatenate([np.zeros_like(upto[..., :1]), upto], axis=-1), 0.25, 0.75)
        return np.asarray((np.diff(edges, axis=-1) / 0.5) @ one_N[order])
    ordered = np.sort(np.moveaxis(np.asarray(scores, dtype=float), axis, -1), axis=-1)
    number = ordered.shape[-1]
    edges = np.clip(np.arange(number + 1) / number, 0.25, 0.75)
    return np.asarray(ordered @ (np.diff(edges) / 0.5))


def stratified_interval(
    scores: Mapping[str, ArrayLike],
    statistic: Statistic = mean,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: Mapping[str, ArrayLike] | None = None,
    shared: bool = False,
) -> Interval:
    """A statistic of runs in scopes, with its interval.

    Args:
        scores: one score a run, by scope.
        statistic: `mean`, `interquartile_mean`, or what takes an array, `axis` and `weights` as they do.
        level: of the interval.
        resamples: bootstrap samples.
        seed: of the resampling; the same seed gives the same interval.
        clusters: label split of each run, by scope. Runs that share a split are not independent: give this wherever a
            split has several training seeds, and splits are resampled whole.
        shared: whether clusters of one name are the same in all scopes, as label splits of one seed are at several
            label fractions: they are then drawn at once. Scopes without a common cluster stay apart. Without this,
            intervals over fractions that share their seeds are much too narrow.

    Returns:
        In the scores' unit; without bounds, and with the reason, when a scope has one run (or cluster) only or all
        runs of every scope agree.

    Raises:
        ValueError: no scopes, empty scopes, scores that are not finite, or a level or number out of range.
    """
    strata = strata_of(scores, clusters)
    value = float(statistic(flat(strata), axis=-1))
    if reason := no_interval(strata):
        return unknown(value, reason, check_level(level))
    draws_R = resampled(strata, statistic, resamples, np.random.default_rng(seed), shared=shared)
    return from_draws(value, draws_R, level, freedom(strata, statistic, shared=shared))
