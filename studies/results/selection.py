"""Which runs may be compared with which: of one study and label scope, and the confirmed ones where there are some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from studies.results.schema import CONFIRM, METRIC
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

    def sentence(self, what: str | None = None) -> str:
        """The result, with its uncertainty."""
        p = self.adjusted_p if self.adjusted_p == self.adjusted_p else None
        return answer(self.difference, what=what, where=short_base(self.base_scope), adjusted_p=p)


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
        other: method that the others are compared with; places without it are left out.
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
        rows = rows.drop_duplicates(["method", "split_seed", "train_seed"], keep="last")
        names = [name for name in rows.method.unique() if name != other and methods(name)]
        if (rows.method == other).any():
            differences = [paired_difference(rows, name, other, value=value) for name in names]
            differences.sort(key=lambda one: -one.interval.value if one.pairs else np.inf)
            found += [(study, base_scope, one) for one in differences]
    adjusted = holm([one.p_value for _, _, one in found])
    return [Comparison(*one, float(p)) for one, p in zip(found, adjusted, strict=True)]


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


def best_trials(trials: pd.DataFrame, scope: str, *, value: str = METRIC) -> pd.DataFrame:
    """Finished trials of a scope that have predictions to look at, best on dev first.

    Args:
        trials: rows of ``trials``.
        scope: with its split seed.
        value: what is best, percent.
    """
    rows = trials[(trials.scope == scope) & trials.test_student_top1.notna()]
    return rows.sort_values([value, "trial_id"], ascending=[False, True], kind="stable").reset_index(drop=True)
