"""Which runs may be compared with which: of one study and label scope, and the confirmed ones where there are some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from studies.results.best_on_dev import order_on_dev
from studies.results.fixmatch import FAMILIES, families
from studies.results.schema import CONFIRM
from studies.results.scores import OURS, fraction_order
from studies.results.stats.answers import answer, told_apart
from studies.results.stats.multiplicity import comparison_note, holm
from studies.results.stats.paired import PairedDifference, paired_difference

ALPHA = 0.05
PLACE = ["study", "base_scope"]


@dataclass(frozen=True)
class Comparison:
    """One method against another on one label scope of one study.

    Attributes:
        study: its name.
        base_scope: label scope without split seed.
        difference: method − other.
        adjusted_p: p-value after Holm over all that was compared at once; NaN where there is none.
    """

    study: str
    base_scope: str
    difference: PairedDifference
    adjusted_p: float

    @property
    def label(self) -> str:
        """What is compared and where, for a row of a figure."""
        return f"{self.difference.method} − {self.difference.other}, {short_base(self.base_scope)}"

    @property
    def direction(self) -> int:
        """1 where the method is better by its interval, −1 where it is worse, 0 where the two cannot be told apart."""
        interval = self.difference.interval
        return int(np.sign(interval.value)) if told_apart(interval) else 0

    def sentence(self, *, study: bool = False) -> str:
        """The result, with its uncertainty.

        Args:
            study: say which study it is of.
        """
        p = self.adjusted_p if self.adjusted_p == self.adjusted_p else None
        said = answer(self.difference, where=short_base(self.base_scope), adjusted_p=p)
        return f"{said}, study {self.study}" if study else said


def short_base(base_scope: str) -> str:
    """``synthgym/core@1pc`` → ``core@1pc``."""
    return base_scope.removeprefix("synthgym/")


def comparable(scores: pd.DataFrame) -> pd.DataFrame:
    """Of each study and label scope the confirm stage, where it has one; else all runs.

    What a search found was chosen among many by chance too: only its confirmation, over new seeds and splits, is
    comparable to the baselines.

    Args:
        scores: of `studies.results.scores.tidy_scores`.
    """
    if scores.empty:
        return scores
    confirmed = scores.groupby(PLACE)["stage"].transform(lambda stage: (stage == CONFIRM).any())
    return scores[~confirmed | (scores.stage == CONFIRM)].reset_index(drop=True)


def comparisons(
    scores: pd.DataFrame,
    other: str = OURS,
    *,
    methods: Callable[[str], bool] = lambda _: True,
    value: str = "test_student_top1",
) -> list[Comparison]:
    """Every method against another one, scope by scope; p-values are adjusted over all of them.

    Args:
        scores: of `comparable`.
        other: method that the others are compared with; places without it are left out. So is a method with several
            runs of one split and seed, see `repeated`.
        methods: says whether a method is compared.
        value: column, percent; runs without it are left out.

    Returns:
        In the order of studies and label fractions, greatest difference first.
    """
    known = scores[scores[value].notna()]
    found: list[tuple[str, str, PairedDifference]] = []
    places = [(str(study), str(scope), rows) for (study, scope), rows in known.groupby(PLACE)]
    places.sort(key=lambda place: (place[0], place[2].subset.iloc[0], fraction_order(place[2].fraction.iloc[0])))
    for study, base_scope, rows in places:
        twice = set(rows.method[rows.duplicated(["method", "split_seed", "train_seed"])])
        names = [name for name in rows.method.unique() if name != other and name not in twice and methods(name)]
        if (rows.method == other).any() and other not in twice:
            differences = [paired_difference(rows, name, other, value=value) for name in names]
            differences.sort(key=lambda one: -one.interval.value if one.pairs else np.inf)
            found += [(study, base_scope, one) for one in differences]
    adjusted = holm([one.p_value for _, _, one in found])
    return [Comparison(*one, float(p)) for one, p in zip(found, adjusted, strict=True)]


def sentences(found: Sequence[Comparison]) -> list[str]:
    """A sentence a comparison; they name their study where there are several."""
    several = len({one.study for one in found}) > 1
    return [one.sentence(study=several) for one in found]


def repeated(scores: pd.DataFrame) -> list[str]:
    """What cannot be compared since a method has several runs of one split and seed, a sentence a method and place.

    Such are runs of one study under different settings, for instance of two recipes.
    """
    found = []
    for (study, base_scope, method), rows in scores.groupby([*PLACE, "method"]):
        if rows.duplicated(["split_seed", "train_seed"]).any():
            found.append(
                f"left out: {method} at {short_base(str(base_scope))} of study {study} has several runs of one label "
                "split and training seed, of different settings; run these under different --name"
            )
    return found


def with_chosen_fixmatch(scores: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The scores with one FixMatch of each family a place, that of best dev accuracy: test accuracy chooses nothing.

    Args:
        scores: of `comparable`.

    Returns:
        The scores, the chosen threshold's runs under the family's name (``FixMatch``); and which threshold that is, a
        sentence a place and family.
    """
    known = families(scores.method)
    kept, said = [scores[known.isna()]], []
    for (study, base_scope, family), rows in scores[known.notna()].groupby([*PLACE, known[known.notna()]], sort=True):
        order = order_on_dev(rows)
        kept.append(rows[rows.method == order.best].assign(method=FAMILIES[str(family)]))
        where = f"{FAMILIES[str(family)]} at {short_base(str(base_scope))} of {study}"
        said.append(" ".join([f"{where}: {order.best} is best on dev.", *order.notes()]))
    return pd.concat(kept, ignore_index=True), said


def tally(found: Sequence[Comparison], name: Callable[[Comparison], str], *, of_other: bool = False) -> str:
    """How many comparisons come out which way, in words.

    Args:
        found: of `comparisons`.
        name: what to call each, for instance its scope.
        of_other: tell of the other method instead, which is better where the method is worse.

    Returns:
        For instance ``by single intervals better in 1 of 3 (core@1pc), worse in none, not told apart in 2 (core@3pc,
        core@10pc); after Holm's correction 0 of these differences remain``.
    """
    sign = -1 if of_other else 1
    parts = []
    for direction, words in ((1, "better in"), (-1, "worse in"), (0, "not told apart in")):
        names = [name(one) for one in found if sign * one.direction == direction]
        count = f"{len(names)} of {len(found)}" if direction == 1 else str(len(names) or "none")
        parts.append(f"{words} {count}" + (f" ({', '.join(names)})" if names else ""))
    left = sum(one.adjusted_p <= ALPHA for one in found)
    return f"by single intervals {', '.join(parts)}; after Holm's correction {left} of these differences remain"


def forest_of(found: Sequence[Comparison]) -> dict[str, Any]:
    """What `studies.results.figures.forest.draw_forest` takes: differences and p-values by label, and a note."""
    several = len({one.study for one in found}) > 1
    labels = [one.label + (f" ({one.study})" if several else "") for one in found]
    return {
        "differences": {label: one.difference for label, one in zip(labels, found, strict=True)},
        "adjusted_p": {label: one.adjusted_p for label, one in zip(labels, found, strict=True)},
        "note": comparison_note(len(found)),
    }
