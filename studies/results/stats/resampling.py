"""Runs in strata, resampled within each so that the spread of few runs is not understated.

Drawing n runs out of n with replacement gives a variance that is (n − 1)/n of the true one. At five runs a scope that
is a fifth too little, so the deviations from the stratum's mean are multiplied by √(n / (n − 1)) (rescaled bootstrap,
Rao and Wu 1988). With clusters (runs that share a label split) whole clusters are drawn, and n counts clusters.

A scope keeps its weight in every sample, however many runs the drawn clusters have: what a study has of each scope is
not left to chance, and else differences between scopes would pass for spread of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

Statistic = Callable[..., np.ndarray]  # of scores of N runs and the keyword `weights`, of shape (…, N)


@dataclass(frozen=True)
class Stratum:
    """The runs of one scope.

    Attributes:
        name: of the scope.
        scores_N: one score a run, rising within a cluster.
        keys: name of each cluster; a number each when runs are independent.
        cluster_N: position of each run's cluster in `keys`.
    """

    name: str
    scores_N: np.ndarray
    keys: tuple[object, ...]
    cluster_N: np.ndarray

    @property
    def single(self) -> bool:
        """Whether every cluster is one run."""
        return len(self.keys) == len(self.scores_N)

    def stretched_N(self) -> np.ndarray:
        """The scores, their deviations from the mean multiplied by √(n / (n − 1)) of n clusters."""
        number = len(self.keys)
        mean = self.scores_N.mean()
        return mean + np.sqrt(number / (number - 1)) * (self.scores_N - mean)


def strata_of(
    scores: Mapping[str, ArrayLike], clusters: Mapping[str, ArrayLike] | None = None, *, what: str = "scores"
) -> list[Stratum]:
    """The strata of scores by scope, sorted, so that the order of rows and scopes changes no interval.

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
    for name, values in sorted(scores.items(), key=lambda item: str(item[0])):
        scores_N = np.asarray(values, dtype=float).ravel()
        if not len(scores_N):
            raise ValueError(f"{what}: scope '{name}' has no run; leave it out")
        if not np.isfinite(scores_N).all():
            raise ValueError(f"{what}: scope '{name}' has a score that is not finite; leave out unfinished runs")
        own: list[object] = list(range(len(scores_N))) if clusters is None else _listed(clusters[name])
        if len(own) != len(scores_N):
            raise ValueError(f"clusters: scope '{name}' has {len(scores_N)} runs, got {len(own)} clusters")
        order = sorted(range(len(own)), key=lambda n: ("" if clusters is None else str(own[n]), scores_N[n]))
        keys = tuple(dict.fromkeys(own[n] for n in order))
        place = {key: at for at, key in enumerate(keys)}
        strata.append(Stratum(str(name), scores_N[order], keys, np.array([place[own[n]] for n in order])))
    return strata


def _listed(values: ArrayLike) -> list[object]:
    """Names of clusters as hashable objects; tuples stay whole."""
    return values.tolist() if hasattr(values, "tolist") else list(values)  # type: ignore[arg-type]


def flat(strata: Sequence[Stratum]) -> np.ndarray:
    """All scores behind one another."""
    return np.concatenate([stratum.scores_N for stratum in strata])


def no_interval(strata: Sequence[Stratum]) -> str:
    """Why no interval can be had; empty when one can."""
    lonely = [stratum.name for stratum in strata if len(stratum.keys) < 2]
    if lonely:
        unit = "run" if all(s.single for s in strata if s.name in lonely) else "label split"
        others = f" and {len(lonely) - 3} more" if len(lonely) > 3 else ""
        return f"one {unit} only in {', '.join(lonely[:3])}{others}: its spread is not known"
    if all(_alike(stratum) for stratum in strata):
        return "all runs scored the same: their spread is not known"
    return ""


def _alike(stratum: Stratum) -> bool:
    """Whether nothing but rounding tells the clusters' means apart."""
    sums_K = np.bincount(stratum.cluster_N, weights=stratum.scores_N)
    means_K = sums_K / np.bincount(stratum.cluster_N)
    return bool(np.ptp(means_K) <= 1e-9 * max(1.0, float(np.abs(stratum.scores_N).max())))


def drawn_together(strata: Sequence[Stratum], shared: bool) -> list[list[int]]:
    """Positions of the strata whose clusters are drawn at once.

    Args:
        strata: all.
        shared: whether clusters of one name are the same in all scopes; else each stratum is drawn by itself.

    Returns:
        Groups of positions; strata of different groups have no cluster in common.
    """
    groups: list[list[int]] = []
    for at, stratum in enumerate(strata):
        joined = [g for g in groups if shared and any(set(strata[n].keys) & set(stratum.keys) for n in g)]
        groups = [g for g in groups if g not in joined] + [sorted([n for g in joined for n in g] + [at])]
    return sorted(groups)


def _places(strata: Sequence[Stratum], group: Sequence[int]) -> tuple[int, list[np.ndarray]]:
    """Number of a group's clusters, and the place of every run's cluster among them, by stratum."""
    keys = list(dict.fromkeys(key for at in group for key in strata[at].keys))
    place = {key: at for at, key in enumerate(keys)}
    return len(keys), [np.array([place[key] for key in strata[at].keys])[strata[at].cluster_N] for at in group]


def _weights(counts_RK: np.ndarray, place_N: np.ndarray, share: float) -> np.ndarray:
    """R × N weights of a scope's runs that sum to its share; a draw without any of its runs weighs all alike."""
    counts_RN = counts_RK[:, place_N].astype(float)
    empty_R = counts_RN.sum(axis=1) == 0
    counts_RN[empty_R] = 1.0
    return np.asarray(share * counts_RN / counts_RN.sum(axis=1, keepdims=True))


def resampled(
    strata: Sequence[Stratum],
    statistic: Statistic,
    resamples: int,
    rng: np.random.Generator,
    *,
    shared: bool = False,
) -> np.ndarray:
    """The statistic of `resamples` stratified samples.

    Args:
        strata: each with at least two clusters.
        statistic: of the scores of all strata behind one another, and their weights.
        resamples: their number R, at least 1.
        rng: draws them.
        shared: see `drawn_together`.

    Returns:
        R values.
    """
    if resamples < 1:
        raise ValueError(f"resamples: expected an integer ≥ 1, got {resamples}")
    total = sum(len(stratum.scores_N) for stratum in strata)
    weights: dict[int, np.ndarray] = {}
    for group in drawn_together(strata, shared):
        number, places = _places(strata, group)
        counts_RK = rng.multinomial(number, np.full(number, 1 / number), size=resamples)
        for at, place_N in zip(group, places, strict=True):
            weights[at] = _weights(counts_RK, place_N, len(place_N) / total)
    scores_N = np.concatenate([stratum.stretched_N() for stratum in strata])
    weights_RN = np.concatenate([weights[at] for at in range(len(strata))], axis=1)
    return np.asarray(statistic(scores_N, weights=weights_RN), dtype=float)


def jackknife(strata: Sequence[Stratum], statistic: Statistic, *, shared: bool = False) -> tuple[float, float]:
    """Variance of the statistic by leaving out one cluster at a time, and its degrees of freedom after Satterthwaite.

    Scopes whose runs hardly differ add nothing to the variance and so nothing to its degrees of freedom.

    Args:
        strata: each with at least two clusters.
        statistic: as of `resampled`.
        shared: see `drawn_together`.
    """
    scores_N = flat(strata)
    total = len(scores_N)
    starts = np.cumsum([0, *(len(stratum.scores_N) for stratum in strata)])
    variance, bound, least = 0.0, 0.0, 0
    for group in drawn_together(strata, shared):
        number, places = _places(strata, group)
        weights_KN = np.full((number, total), 1 / total)
        for at, place_N in zip(group, places, strict=True):
            kept_KK = 1 - np.eye(number, dtype=int)
            weights_KN[:, starts[at] : starts[at + 1]] = _weights(kept_KK, place_N, len(place_N) / total)
        left_K = np.asarray(statistic(scores_N, weights=weights_KN), dtype=float)
        own = (number - 1) / number * float(((left_K - left_K.mean()) ** 2).sum())
        variance += own
        bound += own**2 / (number - 1)
        least += number - 1
    return variance, variance**2 / bound if bound > 0 else float(least)


def freedom(strata: Sequence[Stratum], statistic: Statistic, *, shared: bool = False) -> float:
    """Degrees of freedom of the statistic's variance; see `jackknife`."""
    return jackknife(strata, statistic, shared=shared)[1]
