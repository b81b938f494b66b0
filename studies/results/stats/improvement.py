"""How probably a run of one method beats a run of another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.optimize import brentq

from studies.results.stats.interval import LEVEL, Interval, check_level, unknown
from studies.results.stats.resampling import strata_of


def probability_of_improvement(
    a: Mapping[str, ArrayLike],
    b: Mapping[str, ArrayLike],
    *,
    level: float = LEVEL,
    clusters: tuple[Mapping[str, ArrayLike], Mapping[str, ArrayLike]] | None = None,
) -> Interval:
    """The probability that a random run of `a` scores higher than one of `b` in the same scope, mean over scopes.

    Ties count half (the Mann–Whitney statistic over its maximum). The interval is a score interval: all values θ whose
    distance to the estimate is within z standard errors *at θ* (Newcombe 2006, method 5, with the variances of scopes
    added). Unlike a bootstrap it stays open at 0 and 1, where every run of one method beats every run of the other.

    Args:
        a: one score a run, by scope.
        b: the same; scopes that only one of the two has are left out, and `reason` says so.
        level: of the interval.
        clusters: label split of each run of a and of b, by scope, where a split has several training seeds: the
            interval then counts splits rather than runs, as if seeds of one split told nothing new. That is right
            where splits differ much and too wide where they do not.

    Returns:
        A share in [0, 1].

    Raises:
        ValueError: no common scope, or see `strata_of`.
    """
    common = [scope for scope in a if scope in b]
    if not common:
        raise ValueError(f"a and b share no scope: a has {', '.join(a) or 'none'}; b has {', '.join(b) or 'none'}")
    left_out = [scope for scope in [*a, *b] if scope not in common]
    reason = f"left out, as only one method has them: {', '.join(left_out)}" if left_out else ""
    of_a, of_b = clusters or (None, None)
    pairs = list(
        zip(
            strata_of({s: a[s] for s in common}, of_a, what="a"),
            strata_of({s: b[s] for s in common}, of_b, what="b"),
            strict=True,
        )
    )
    value = float(np.mean([_share(one.scores_N, two.scores_N) for one, two in pairs]))
    sizes = [(len(one.keys), len(two.keys)) for one, two in pairs]
    lonely = [one.name for (one, _), size in zip(pairs, sizes, strict=True) if min(size) < 2]
    if lonely:
        unit = "run" if clusters is None else "label split"
        return unknown(value, f"one {unit} only in {', '.join(lonely[:3])}: its spread is not known", level)
    z = float(stats.norm.ppf((1 + check_level(level)) / 2))

    def surplus(theta: float) -> float:
        variance = sum(_variance(theta, *size) for size in sizes) / len(sizes) ** 2
        return (value - theta) ** 2 - z**2 * variance

    edge = 1e-9
    low = 0.0 if value <= edge else float(brentq(surplus, edge, min(value, 1 - edge)))
    high = 1.0 if value >= 1 - edge else float(brentq(surplus, max(value, edge), 1 - edge))
    return Interval(value, low, high, level, reason)


def _share(a_N: np.ndarray, b_M: np.ndarray) -> float:
    difference_NM = a_N[:, None] - b_M[None, :]
    return float(((difference_NM > 0) + 0.5 * (difference_NM == 0)).mean())


def _variance(theta: float, number_a: int, number_b: int) -> float:
    """Variance of the share of pairs won if its mean is θ (Hanley and McNeil's, as modified by Newcombe)."""
    middle = (number_a + number_b) / 2 - 1
    bracket = 1 + middle * ((1 - theta) / (2 - theta) + theta / (1 + theta))
    return theta * (1 - theta) * bracket / (number_a * number_b)
