"""Results in sentences, as notebooks and reports say them."""

from __future__ import annotations

from studies.results.stats.interval import Interval
from studies.results.stats.paired import PairedDifference


def answer(
    difference: PairedDifference, *, what: str | None = None, where: str = "", adjusted_p: float | None = None
) -> str:
    """What a method is worth, in a sentence, with its uncertainty.

    A difference counts as told from nothing when its interval leaves out 0. Of several comparisons it must also pass
    the adjusted p-value; a sentence says so where it does not.

    Args:
        difference: of `paired_difference`.
        what: subject of the sentence, for instance ``adaptive regulation``; default: the method.
        where: label scope or fraction, for instance ``1pc``; empty: not said.
        adjusted_p: p-value after Holm, where several comparisons are made.

    Returns:
        For instance ``adaptive regulation is worth 3.1 ± 1.2 points against constant (95 % interval 1.9 to 4.3,
        6 pairs) at 1pc``, without a full stop. Where the bounds do not lie alike far from the value, without ±.
    """
    interval, subject = difference.interval, what or difference.method
    place = f" at {where}" if where else ""
    pairs = f"{difference.pairs} pair{'' if difference.pairs == 1 else 's'}"
    against = f"against {difference.other}"
    if difference.pairs == 0:
        return f"{subject} cannot be compared {against}{place}: {interval.reason}"
    if not interval.known:
        told = f"{subject} differs by {interval.value:+.1f} points {against} ({pairs}){place}"
        return f"{told}, but how surely cannot be said: {interval.reason}"
    if not told_apart(interval):
        told = f"{subject} cannot be told from nothing {against}: {interval.value:+.1f} points"
        return f"{told} {_bounds(interval, pairs)}{place}"
    # a loss is said as a positive number
    shown = interval if interval.value > 0 else _negated(interval)
    verb = "is worth" if interval.value > 0 else "costs"
    size = f"{shown.value:.1f}{_margin(shown)} points"
    sentence = f"{subject} {verb} {size} {against} {_bounds(shown, pairs)}{place}"
    return sentence + _after_holm(difference, adjusted_p)


def told_apart(interval: Interval) -> bool:
    """Whether an interval of a difference has bounds and leaves out 0."""
    return interval.known and not interval.holds(0.0)


def _bounds(interval: Interval, pairs: str) -> str:
    return f"({100 * interval.level:g} % interval {interval.low:.1f} to {interval.high:.1f}, {pairs})"


def _margin(interval: Interval) -> str:
    """`` ± 1.2`` where it says what the shown bounds say; else nothing."""
    value, low, high = (round(10 * float(f"{x:.1f}")) for x in (interval.value, interval.low, interval.high))
    return f" ± {(high - value) / 10:.1f}" if high - value == value - low else ""


def _negated(interval: Interval) -> Interval:
    return Interval(-interval.value, -interval.high, -interval.low, interval.level, interval.reason)


def _after_holm(difference: PairedDifference, adjusted_p: float | None) -> str:
    """What several comparisons at once leave of it."""
    if adjusted_p is None or adjusted_p <= 1 - difference.interval.level:
        return ""
    return f", but does not stand among several comparisons (adjusted p = {adjusted_p:.2g})"
