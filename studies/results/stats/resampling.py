"""Runs in strata, resampled within each so that the spread of few runs is not understated.

Drawing n runs out of n with replacement gives a variance that is (n − 1)/n of the true one. At five runs a scope that
is a fifth too little, so the deviations from the stratum's mean are multiplied by √(n / (n − 1)) (rescaled bootstrap,
Rao and Wu 1988). With clusters (runs that share a label split) whole clusters are drawn, and n counts clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

Statistic = Callable[..., np.ndarray]  # of an array and the keyword `axis`, as numpy.mean


@dataclass(frozen=True)
class Stratum:
    """The runs of one scope.

    Attributes:
        name: of the scope.
        scores_N: one score a run.
        members: positions of the runs of each cluster; one each when runs are independent.
    """

    name: str
    scores_N: np.ndarray
    members: tuple[np.ndarray, ...]

    @property
    def single(self) -> bool:
        """Whether every cluster is one run."""
        return len(self.members) == len(self.scores_N)

    def stretched_N(self) -> np.ndarray:
        """The scores, their deviations from the mean multiplied by √(n / (n − 1)) of n clusters."""
        number = len(self.members)
        mean = self.scores_N.mean()
        return mean + np.sqrt(number / (number - 1)) * (self.scores_N - mean)


def strata_of(
    scores: Mapping[str, ArrayLike], clusters: Mapping[str, ArrayLike] | None = None, *, what: str = "scores"
) -> list[Stratum]:
    """The strata of scores by scope.

    Args:
        scores: one score a run, by scope.
        clusters: of each run, in the same order, what it shares with others (its label split), by scope.
        what: how errors call the scores.

    Raises:
        ValueError: no scope, a scope without runs, a score that is not a finite number, or clusters of other length.
    """
    if not scores:
        raise ValueError(f"{what}: expected at least one scope, got none")
    strata = []
    for name, values in scores.items():
        scores_N = np.asarray(values, dtype=float).ravel()
        if not len(scores_N):
            raise ValueError(f"{what}: scope '{name}' has no run; leave it out")
        if not np.isfinite(scores_N).all():
            raise ValueError(f"{what}: scope '{name}' has a score that is not finite; leave out unfinished runs")
        groups_N = np.arange(len(scores_N)) if clusters is None else np.asarray(clusters[name]).ravel()
        if len(groups_N) != len(scores_N):
            raise ValueError(f"clusters: scope '{name}' has {len(scores_N)} runs, got {len(groups_N)} clusters")
        members = tuple(np.flatnonzero(groups_N == group) for group in dict.fromkeys(groups_N.tolist()))
        strata.append(Stratum(str(name), scores_N, members))
    return strata


def flat(strata: Sequence[Stratum]) -> np.ndarray:
    """All scores behind one another."""
    return np.concatenate([stratum.scores_N for stratum in strata])


def no_interval(strata: Sequence[Stratum]) -> str:
    """Why no interval can be had; empty when one can."""
    lonely = [stratum.name for stratum in strata if len(stratum.members) < 2]
    if lonely:
        unit = "run" if all(s.single for s in strata if s.name in lonely) else "label split"
        others = f" and {len(lonely) - 3} more" if len(lonely) > 3 else ""
        return f"one {unit} only in {', '.join(lonely[:3])}{others}: its spread is not known"
    if all(np.ptp(stratum.scores_N) == 0 for stratum in strata):
        return "all runs scored the same: their spread is not known"
    return ""


def resampled(strata: Sequence[Stratum], statistic: Statistic, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """The statistic of `resamples` stratified samples.

    Args:
        strata: each with at least two clusters.
        statistic: of the scores of all strata behind one another.
        resamples: their number R, at least 1.
        rng: draws them.

    Returns:
        R values.
    """
    if resamples < 1:
        raise ValueError(f"resamples: expected an integer ≥ 1, got {resamples}")
    if all(stratum.single for stratum in strata):
        parts = []
        for stratum in strata:
            number = len(stratum.scores_N)
            parts.append(stratum.stretched_N()[rng.integers(number, size=(resamples, number))])
        return np.asarray(statistic(np.concatenate(parts, axis=1), axis=-1), dtype=float)
    stretched = [stratum.stretched_N() for stratum in strata]
    draws = []
    for _ in range(resamples):
        picked = []
        for stratum, scores_N in zip(strata, stretched, strict=True):
            number = len(stratum.members)
            picked += [scores_N[stratum.members[k]] for k in rng.integers(number, size=number)]
        draws.append(statistic(np.concatenate(picked), axis=-1))
    return np.asarray(draws, dtype=float)


def freedom(strata: Sequence[Stratum], statistic: Statistic) -> float:
    """Degrees of freedom of the statistic's variance, after Satterthwaite, by leaving out one cluster at a time.

    Scopes whose runs hardly differ add nothing to the variance and so nothing to its degrees of freedom.
    """
    scores_N, start = flat(strata), 0
    total, bound = 0.0, 0.0
    for stratum in strata:
        number = len(stratum.members)
        left_K = np.array(
            [float(statistic(np.delete(scores_N, start + member), axis=-1)) for member in stratum.members]
        )
        variance = number / (number - 1) * float(((left_K - left_K.mean()) ** 2).sum())
        total += variance
        bound += variance**2 / (number - 1)
        start += len(stratum.scores_N)
    return total**2 / bound if bound > 0 else float(sum(len(s.members) - 1 for s in strata))
