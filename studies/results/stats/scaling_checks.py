"""What a scaling law is good for: does it foretell more labels, and how many labels is a method worth?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from studies.results.stats.interval import LEVEL, Interval, unknown
from studies.results.stats.scaling import RESAMPLES, PowerLaw, fit_power_law


@dataclass(frozen=True)
class HeldOut:
    """The largest label count foretold from the smaller ones.

    Attributes:
        labels: the label count held out.
        predicted: error foretold for the mean of as many runs as were held out, with its bounds.
        observed: mean error of these runs.
        inside: whether `observed` lies within the bounds; None when there are no bounds.
        law: the law fitted without them.
    """

    labels: float
    predicted: Interval
    observed: float
    inside: bool | None
    law: PowerLaw

    def text(self) -> str:
        """The result in a sentence."""
        told = f"at {self.labels:g} labels the law of fewer foretells {self.predicted.text()}, seen {self.observed:.1f}"
        if self.inside is None:
            return f"{told}; no verdict: {self.predicted.reason}"
        return f"{told}: {'inside' if self.inside else 'outside'} the interval"


def held_out_check(
    labels_N: ArrayLike,
    error_N: ArrayLike,
    *,
    seeds_N: ArrayLike | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> HeldOut:
    """Fit without the largest label count and predict it.

    The bounds hold both the law's uncertainty and the scatter of the held-out mean, as far as its own runs show it.

    Args:
        labels_N: labelled clips of each run.
        error_N: its error.
        seeds_N: seed of each run; see `fit_power_law`.
        level: of the interval.
        resamples: bootstrap samples.
        seed: of the resampling.

    Raises:
        ValueError: fewer than four label counts, or see `fit_power_law`.
    """
    labels, errors = np.asarray(labels_N, dtype=float).ravel(), np.asarray(error_N, dtype=float).ravel()
    counts = np.unique(labels)
    if len(counts) < 4:
        raise ValueError(
            f"labels_N: holding one label count out leaves {max(len(counts) - 1, 0)}, and the law needs 3; run "
            "further fractions"
        )
    held = labels == counts[-1]
    seeds = None if seeds_N is None else np.asarray(seeds_N).ravel()[~held]
    law = fit_power_law(labels[~held], errors[~held], seeds_N=seeds, level=level, resamples=resamples, seed=seed)
    value, observed = float(law.predict(counts[-1])), float(errors[held].mean())
    number = int(held.sum())
    reason = law.reason or (f"one run only at {counts[-1]:g} labels: its spread is not known" if number < 2 else "")
    if reason:
        return HeldOut(float(counts[-1]), unknown(value, reason, level), observed, None, law)
    a_R, b_R, beta_R = law.draws_R3.T
    rng = np.random.default_rng([seed, 1])
    drawn_R = errors[held][rng.integers(number, size=(len(a_R), number))].mean(axis=1)
    scatter_R = math.sqrt(number / (number - 1)) * (drawn_R - observed)
    foretold_R = a_R + b_R * counts[-1] ** -beta_R + scatter_R
    low, high = np.quantile(foretold_R, [(1 - level) / 2, (1 + level) / 2])
    predicted = Interval(value, float(min(low, value)), float(max(high, value)), level)
    return HeldOut(float(counts[-1]), predicted, observed, predicted.holds(observed), law)


@dataclass(frozen=True)
class Equivalence:
    """Method a at some labels equals method b at how many.

    Attributes:
        labels_a: labels of a.
        error: that a's law gives there.
        labels_b: labels at which b's law gives the same; ``inf`` when b never gets there, and an upper bound of ``inf``
            where part of the resampled laws do not.
        ratio: `labels_b` over `labels_a`.
        reachable: whether b's law gets there at all.
        extrapolated: whether either label count lies outside the method's data.
        unreached: share of resampled laws of b that never get there; NaN without intervals.
    """

    labels_a: float
    error: float
    labels_b: Interval
    ratio: Interval
    reachable: bool
    extrapolated: bool
    unreached: float

    def text(self, name_a: str = "A", name_b: str = "B") -> str:
        """The result in a sentence."""
        if not self.reachable:
            return f"{name_b} does not get to {name_a}'s error at {self.labels_a:g} labels with any number of labels"
        bounds = f", {100 * self.ratio.level:g} % interval {self.ratio.low:.2g} to {self.ratio.high:.2g}"
        told = f"{name_a} at {self.labels_a:g} labels equals {name_b} at {self.labels_b.value:.3g}"
        ratio = f"ratio {self.ratio.value:.2g}{bounds if self.ratio.known else ''}"
        return f"{told} ({ratio}{'; beyond the data' if self.extrapolated else ''})"


def label_equivalence(law_a: PowerLaw, law_b: PowerLaw, labels: float) -> Equivalence:
    """How many labels b needs for the error that a has at `labels`.

    Intervals come from both laws' resamples, taken in pairs: fit both with the same `seed`, `seeds_N` and `resamples`
    where both methods ran with the same seeds, and what they share cancels.

    Args:
        law_a: law of a.
        law_b: law of b, in the same unit.
        labels: label count of a, above 0.

    Raises:
        ValueError: `labels` is not positive.
    """
    if not labels > 0:
        raise ValueError(f"labels: expected a positive label count, got {labels}")
    error = float(law_a.predict(labels))
    needed = float(_needed(np.array([[law_b.a, law_b.b, law_b.beta]]), np.array([error]))[0])
    reason = law_a.reason or law_b.reason
    level, unreached = law_a.level, math.nan
    number, ratio = unknown(needed, reason, level), unknown(needed / labels, reason, level)
    if not reason:
        pairs = min(len(law_a.draws_R3), len(law_b.draws_R3))
        a_R, b_R, beta_R = law_a.draws_R3[:pairs].T
        needed_R = _needed(law_b.draws_R3[:pairs], a_R + b_R * labels**-beta_R)
        unreached = float(np.isinf(needed_R).mean())
        # a drawn value, never one between two: some are infinite
        low, high = np.quantile(needed_R, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
        low, high = float(min(low, needed)), float(max(high, needed))
        number = Interval(needed, low, high, level)
        ratio = Interval(needed / labels, low / labels, high / labels, level)
    reachable = math.isfinite(needed)
    outside = not law_a.inside(labels) or (reachable and not law_b.inside(needed))
    return Equivalence(labels, error, number, ratio, reachable, outside, unreached)


def _needed(laws_R3: np.ndarray, error_R: np.ndarray) -> np.ndarray:
    """Labels at which each law gives each error; infinite where it never does."""
    a_R, b_R, beta_R = laws_R3.T
    above_R = error_R - a_R
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        needed_R = (b_R / above_R) ** (1 / beta_R)
    return np.where(above_R > 0, needed_R, np.inf)
