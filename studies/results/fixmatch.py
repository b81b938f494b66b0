"""FixMatch as a baseline: its methods carry a threshold in their name, and the threshold is chosen on dev."""

from __future__ import annotations

import pandas as pd

from sefar.recipes import SINGLE
from studies.results.best_on_dev import DevOrder, order_on_dev

FIXMATCH = "fixmatch"  # on SeFAR's network
FAMILIES = {FIXMATCH: "FixMatch", SINGLE: "single-level FixMatch"}
"""First words of the methods' names (``fixmatch τ=0.5``), with the name of what remains once a threshold is chosen."""


def family_of(method: str) -> str | None:
    """Which FixMatch a method is, by its first word; None: another method."""
    first = method.partition(" ")[0]
    return first if first in FAMILIES else None


def threshold_of(method: str) -> str:
    """``τ=0.5`` of ``fixmatch τ=0.5``."""
    return method.partition(" ")[2]


def families(methods: pd.Series) -> pd.Series:
    """Each method's family, None where it is another method."""
    return methods.map(family_of).astype(object)


def fixmatch_order(scores: pd.DataFrame, fraction: str, family: str) -> DevOrder:
    """The thresholds of a FixMatch at a fraction, the best on dev first.

    Args:
        scores: of `tidy_scores`.
        fraction: as in column ``fraction``.
        family: a key of `FAMILIES`.
    """
    return order_on_dev(scores[(scores.fraction == fraction) & (families(scores.method) == family)])


def chosen_fixmatch(scores: pd.DataFrame, fraction: str) -> dict[str, str]:
    """By family, the FixMatch at a fraction that is best on dev over the runs that all its thresholds have.

    Args:
        scores: of `tidy_scores`.
        fraction: as in column ``fraction``.
    """
    best = {family: fixmatch_order(scores, fraction, family).best for family in FAMILIES}
    return {family: method for family, method in best.items() if method is not None}


def in_short(methods: pd.Series) -> pd.Series:
    """The methods without thresholds: ``FixMatch`` for ``fixmatch τ=0.5``, others as they are."""
    return methods.map(lambda method: FAMILIES.get(family_of(method) or "", method))


def fixmatch_notes(scores: pd.DataFrame, fractions: list[str]) -> list[str]:
    """What limits the choice of the thresholds, a sentence each: runs left out, thresholds that are alike on dev.

    Args:
        scores: of `tidy_scores`, all thresholds among them.
        fractions: those of column ``fraction`` to speak of.
    """
    return [
        f"The threshold of {name} at {fraction} is {threshold_of(str(order.best))}. {note}"
        for fraction in fractions
        for family, name in FAMILIES.items()
        for order in (fixmatch_order(scores, fraction, family),)
        for note in order.notes(threshold_of)
    ]
