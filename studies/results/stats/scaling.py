"""The scaling law error = a + b · n^(−β) of n labels.

Errors are fitted by their distance relative to the mean error at the same n, since errors at few labels are both larger
and more scattered. a ≥ 0 (the error that no number of labels removes), b > 0, 0.02 ≤ β ≤ 3. Three parameters from a
handful of label counts: a and β lean on one another, so read predictions and their intervals rather than a by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from studies.results.stats.interval import LEVEL, Interval, check_level, unknown, widening

BETAS = np.geomspace(0.02, 3.0, 160)  # bounds of β, and where fits start
RESAMPLES = 1000


@dataclass(frozen=True)
class PowerLaw:
    """A fitted law.

    Attributes:
        a: error that remains however many labels there are, in the unit of the errors.
        b: error beyond `a` at one label.
        beta: exponent.
        intervals: of ``a``, ``b`` and ``beta``, over seeds.
        labels: label counts fitted, rising.
        errors: mean error at each.
        misfit: root mean square of relative deviations of these means from the law.
        level: of the intervals.
        reason: why there are no intervals; empty when there are.
        draws_R3: resampled (a, b, β); empty without intervals.
    """

    a: float
    b: float
    beta: float
    intervals: Mapping[str, Interval] = field(compare=False)
    labels: tuple[float, ...]
    errors: tuple[float, ...]
    misfit: float
    level: float = LEVEL
    reason: str = ""
    draws_R3: np.ndarray = field(compare=False, repr=False, default_factory=lambda: np.zeros((0, 3)))

    def predict(self, labels: ArrayLike) -> np.ndarray:
        """The error at these label counts; same shape."""
        return np.asarray(self.a + self.b * np.asarray(labels, dtype=float) ** -self.beta)

    def band(self, labels_N: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Pointwise bounds of the law at these label counts; NaN without intervals."""
        labels_N = np.asarray(labels_N, dtype=float).ravel()
        if not len(self.draws_R3):
            return np.full(len(labels_N), np.nan), np.full(len(labels_N), np.nan)
        a_R, b_R, beta_R = self.draws_R3.T
        draws_RN = a_R[:, None] + b_R[:, None] * labels_N ** -beta_R[:, None]
        low_N, high_N = np.quantile(draws_RN, _tails(self.level), axis=0)
        value_N = self.predict(labels_N)
        return np.minimum(low_N, value_N), np.maximum(high_N, value_N)

    def at(self, labels: float) -> Interval:
        """The law's error at one label count with its bounds (of the mean over runs, not of a single run)."""
        low_N, high_N = self.band([labels])
        return Interval(float(self.predict(labels)), float(low_N[0]), float(high_N[0]), self.level, self.reason)

    def inside(self, labels: float) -> bool:
        """Whether the label count lies within the data."""
        return self.labels[0] <= labels <= self.labels[-1]


def fit_power_law(
    labels_N: ArrayLike,
    error_N: ArrayLike,
    *,
    seeds_N: ArrayLike | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PowerLaw:
    """Fit the law to runs.

    Args:
        labels_N: labelled clips of each run.
        error_N: its error (100 − accuracy, or any unit); at least 0.
        seeds_N: seed of each run. When given, whole seeds are resampled, which is right where the label sets of one
            seed are nested; else runs are resampled at each label count by itself.
        level: of the intervals.
        resamples: bootstrap samples.
        seed: of the resampling.

    Raises:
        ValueError: fewer than three label counts, counts that are not positive, or errors that are negative or not
            finite.
    """
    groups = _Groups.of(labels_N, error_N, seeds_N)
    if len(groups.labels_K) < 3:
        counts = ", ".join(f"{n:g}" for n in groups.labels_K)
        raise ValueError(
            f"labels_N: a law of three parameters needs at least 3 different label counts, got {len(groups.labels_K)} "
            f"({counts}); run further fractions"
        )
    check_level(level)
    means_K = groups.means_K()
    scale_K = _scale(means_K)
    a, b, beta = _polished(groups.labels_K, means_K, scale_K)
    law_K = a + b * groups.labels_K**-beta
    reason = groups.no_interval()
    draws_R3 = np.zeros((0, 3))
    if not reason:
        means_RK = groups.resampled_means(resamples, np.random.default_rng(seed), level)
        draws_R3 = _profiled(groups.labels_K, means_RK, scale_K)
    values = {"a": a, "b": b, "beta": beta}
    if reason:
        intervals = {name: unknown(value, reason, level) for name, value in values.items()}
    else:
        bounds = np.quantile(draws_R3, _tails(level), axis=0)
        intervals = {
            name: Interval(value, float(min(bounds[0, i], value)), float(max(bounds[1, i], value)), level)
            for i, (name, value) in enumerate(values.items())
        }
    return PowerLaw(
        a=a,
        b=b,
        beta=beta,
        intervals=intervals,
        labels=tuple(groups.labels_K.tolist()),
        errors=tuple(means_K.tolist()),
        misfit=float(np.sqrt((((law_K - means_K) / scale_K) ** 2).mean())),
        level=level,
        reason=reason,
        draws_R3=draws_R3,
    )


def _tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def _scale(means_K: np.ndarray) -> np.ndarray:
    """What deviations are relative to; where no run errs at all, the smallest error there is."""
    positive = means_K[means_K > 0]
    return np.maximum(means_K, positive.min() if len(positive) else 1.0)


def _profiled(labels_K: np.ndarray, means_RK: np.ndarray, scale_K: np.ndarray) -> np.ndarray:
    """Best (a, b, β) of each of R sets of means: for every β of the grid, a and b by linear least squares."""
    weight_K = 1 / scale_K**2
    best_R3 = np.zeros((len(means_RK), 3))
    least_R = np.full(len(means_RK), np.inf)
    for beta in BETAS:
        power_K = labels_K**-beta
        power_mean = (weight_K * power_K).sum() / weight_K.sum()
        error_mean_R = (means_RK * weight_K).sum(axis=1) / weight_K.sum()
        centred_K = power_K - power_mean
        b_R = (means_RK @ (weight_K * centred_K)) / (weight_K * centred_K**2).sum()
        a_R = error_mean_R - b_R * power_mean
        free = (a_R >= 0) & (b_R > 0)
        # outside the bounds the best lies on one: a = 0, unless the errors rise with labels, where b is about 0
        b_R = np.where(free, b_R, np.maximum((means_RK @ (weight_K * power_K)) / (weight_K * power_K**2).sum(), 1e-9))
        flat_R = ~free & (a_R > 0)
        a_R = np.where(free, a_R, np.where(flat_R, np.maximum(error_mean_R, 0.0), 0.0))
        b_R = np.where(flat_R, 1e-9, b_R)
        left_R = (((a_R[:, None] + b_R[:, None] * power_K - means_RK) / scale_K) ** 2).sum(axis=1)
        better = left_R < least_R
        least_R = np.where(better, left_R, least_R)
        best_R3[better] = np.stack([a_R, b_R, np.full(len(a_R), beta)], axis=1)[better]
    return best_R3


def _polished(labels_K: np.ndarray, means_K: np.ndarray, scale_K: np.ndarray) -> tuple[float, float, float]:
    """The best fit: least squares from the best of the grid and from three exponents apart."""

    def residuals(point: np.ndarray) -> np.ndarray:
        return np.asarray((point[0] + np.exp(point[1]) * labels_K ** -point[2] - means_K) / scale_K)

    highest = max(float(means_K.max()), 1e-9)
    a, b, beta = _profiled(labels_K, means_K[None], scale_K)[0]
    starts = [(a, math.log(b), beta)] + [
        (0.5 * float(means_K.min()), math.log(highest) + exponent * math.log(labels_K[0]), exponent)
        for exponent in (0.2, 0.5, 1.0)
    ]
    bounds = ([0.0, -40.0, BETAS[0]], [highest + 1e-9, 80.0, BETAS[-1]])
    fits = [least_squares(residuals, np.clip(start, *bounds), bounds=bounds, xtol=1e-12) for start in starts]
    point = min(fits, key=lambda fit: fit.cost).x
    return float(point[0]), float(np.exp(point[1])), float(point[2])


@dataclass(frozen=True)
class _Groups:
    """Runs by label count."""

    labels_K: np.ndarray
    errors: tuple[np.ndarray, ...]
    seeds: tuple[np.ndarray, ...] | None

    @classmethod
    def of(cls, labels_N: ArrayLike, error_N: ArrayLike, seeds_N: ArrayLike | None) -> _Groups:
        """Check and sort runs; see `fit_power_law`."""
        labels, errors = (np.asarray(v, dtype=float).ravel() for v in (labels_N, error_N))
        if len(labels) != len(errors):
            raise ValueError(f"labels_N, error_N: expected one of each a run, got {len(labels)} and {len(errors)}")
        if not (np.isfinite(labels).all() and (labels > 0).all()):
            raise ValueError(f"labels_N: expected positive label counts, got {labels.tolist()}")
        if not (np.isfinite(errors).all() and (errors >= 0).all()):
            raise ValueError(f"error_N: expected finite errors of at least 0, got {errors.tolist()}")
        counts = np.unique(labels)
        seeds = None
        if seeds_N is not None:
            names = np.asarray(seeds_N).ravel()
            if len(names) != len(labels):
                raise ValueError(f"seeds_N: expected one a run, got {len(names)} for {len(labels)} runs")
            seeds = tuple(names[labels == n] for n in counts)
        return cls(counts, tuple(errors[labels == n] for n in counts), seeds)

    def means_K(self) -> np.ndarray:
        """Mean error at each label count."""
        return np.array([e.mean() for e in self.errors])

    def no_interval(self) -> str:
        """Why no interval can be had; empty when one can."""
        if self.seeds is not None and len(self._names()) < 2:
            return "one seed only: its spread is not known"
        lonely = [f"{n:g}" for n, e in zip(self.labels_K, self.errors, strict=True) if len(e) < 2]
        return f"one run only at {', '.join(lonely)} labels: its spread is not known" if lonely else ""

    def _names(self) -> list[object]:
        assert self.seeds is not None
        return sorted({name for names in self.seeds for name in names.tolist()})

    def resampled_means(self, resamples: int, rng: np.random.Generator, level: float) -> np.ndarray:
        """R × K means, their deviations widened as those of `stratified_interval`."""
        means_K = self.means_K()
        if self.seeds is not None:
            names = self._names()
            deviation_RK = self._by_seed(names, resamples, rng)
            number = len(names)
            return means_K + math.sqrt(number / (number - 1)) * widening(level, number - 1) * deviation_RK
        factor = widening(level, sum(len(e) - 1 for e in self.errors))
        columns = []
        for mean, e in zip(means_K, self.errors, strict=True):
            drawn_R = e[rng.integers(len(e), size=(resamples, len(e)))].mean(axis=1)
            columns.append(mean + math.sqrt(len(e) / (len(e) - 1)) * factor * (drawn_R - mean))
        return np.stack(columns, axis=1)

    def _by_seed(self, names: list[object], resamples: int, rng: np.random.Generator) -> np.ndarray:
        """R × K deviations of the means when whole seeds are drawn; draws that leave a label count empty add 0."""
        assert self.seeds is not None
        counts_RS = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
        columns = []
        for e, own in zip(self.errors, self.seeds, strict=True):
            sums_S = np.array([e[own == name].sum() for name in names])
            sizes_S = np.array([(own == name).sum() for name in names])
            size_R = counts_RS @ sizes_S
            columns.append(np.where(size_R > 0, counts_RS @ sums_S / np.maximum(size_R, 1) - e.mean(), 0.0))
        return np.stack(columns, axis=1)
