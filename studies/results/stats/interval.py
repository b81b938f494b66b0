"""An estimate with its confidence interval, and what small samples do to the interval's width."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval.

    Attributes:
        value: the estimate, in the unit of what it was made from; NaN when there is none.
        low: lower bound; NaN when no interval can be had.
        high: upper bound; NaN when no interval can be had.
        level: share of such intervals that should hold the truth.
        reason: why there are no bounds, or what they do not cover; empty when there is nothing to say.
    """

    value: float
    low: float
    high: float
    level: float = LEVEL
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether there are bounds."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def half_width(self) -> float:
        """Half the distance of the bounds; NaN when there are none."""
        return (self.high - self.low) / 2

    def holds(self, value: float) -> bool:
        """Whether the value lies within the bounds; False when there are none."""
        return self.low <= value <= self.high

    def text(self, *, digits: int = 1, signed: bool = False) -> str:
        """``72.4 [70.1, 74.9]``; the value alone when there are no bounds, a dash when there is no value."""
        if math.isnan(self.value):
            return "–"
        sign = "+" if signed else ""
        shown = f"{self.value:{sign}.{digits}f}"
        return f"{shown} [{self.low:{sign}.{digits}f}, {self.high:{sign}.{digits}f}]" if self.known else shown


def unknown(value: float, reason: str, level: float = LEVEL) -> Interval:
    """An estimate that no interval can be given for, and why."""
    return Interval(float(value), math.nan, math.nan, level, reason)


def check_level(level: float) -> float:
    """The level, if it is one.

    Raises:
        ValueError: not in (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a share in (0, 1) such as 0.95, got {level}")
    return level


def widening(level: float, freedom: float) -> float:
    """How much wider an interval of Student's t is than the normal one; 1 for many degrees of freedom.

    Args:
        level: of the interval.
        freedom: degrees of freedom that the variance was estimated with, above 0.
    """
    tail = (1 + check_level(level)) / 2
    return float(stats.t.ppf(tail, freedom) / stats.norm.ppf(tail))


def from_draws(value: float, draws_R: np.ndarray, level: float, freedom: float, reason: str = "") -> Interval:
    """The percentile interval of resampled estimates, its deviations from the estimate widened for few runs.

    Args:
        value: the estimate.
        draws_R: R resampled estimates.
        level: of the interval.
        freedom: degrees of freedom, see `widening`; infinite for none to widen by.
        reason: what the interval does not cover.
    """
    factor = widening(level, freedom) if math.isfinite(freedom) else 1.0
    low, high = np.quantile(draws_R, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        float(value),
        float(min(value, value + factor * (low - value))),
        float(max(value, value + factor * (high - value))),
        level,
        reason,
    )
