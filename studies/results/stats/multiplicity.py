"""Many comparisons at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's adjusted p-values, in the order given; a NaN stays NaN and does not count as a comparison.

    Comparing the adjusted values with 0.05 keeps the chance of even one false finding under 5 %, however the
    comparisons depend on one another. (scipy has the false discovery rate's procedures only.)

    Raises:
        ValueError: a value outside [0, 1].
    """
    values = np.asarray(p_values, dtype=float).ravel()
    known = ~np.isnan(values)
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise ValueError(f"p_values: expected values in [0, 1], got {values.tolist()}")
    adjusted = np.full(len(values), np.nan)
    order = np.flatnonzero(known)[np.argsort(values[known], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * steps), 1.0)
    return adjusted


def comparison_note(count: int, level: float = 0.95) -> str:
    """What `count` comparisons at once mean for their intervals and p-values; empty for one.

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError(f"count: expected a number of comparisons ≥ 0, got {count}")
    if count < 2:
        return ""
    chance = 100 * (1 - level**count)
    return (
        f"{count} comparisons: were none of the differences real and the comparisons independent, at least one "
        f"{100 * level:g} % interval would still leave out 0 with a chance of {chance:.0f} %. Judge by the p-values "
        "adjusted after Holm; intervals are not adjusted."
    )
