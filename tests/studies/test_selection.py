"""Which runs are compared with which."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from studies.results.scores import COLUMNS
from studies.results.selection import (
    comparable,
    comparisons,
    forest_of,
    repeated,
    sentences,
    tally,
    with_chosen_fixmatch,
)


def score(method: str, seed: int, test: float, scope: str = "synthgym/core@1pc", stage: str = "search") -> dict:
    known = dict.fromkeys(COLUMNS, np.nan)
    return known | {
        "study": "s",
        "trial_id": f"{method}-{seed}-{stage}",
        "stage": stage,
        "role": method,
        "method": method,
        "scope": f"{scope}#{seed}",
        "base_scope": scope,
        "subset": "synthgym/core",
        "fraction": scope.partition("@")[2],
        "split_seed": seed,
        "train_seed": seed,
        "test_student_top1": test,
    }


def test_a_scope_that_was_confirmed_counts_by_its_confirm_stage_alone() -> None:
    other = "synthgym/core@3pc"
    scores = pd.DataFrame(
        [
            score("SeFAR", 0, 90.0),
            score("SeFAR", 0, 70.0, stage="confirm"),
            score("SeFAR", 1, 72.0, stage="confirm"),
            score("SeFAR", 0, 80.0, other),
        ]
    )
    chosen = comparable(scores)
    assert chosen.test_student_top1.tolist() == [70.0, 72.0, 80.0]
    assert comparable(scores.iloc[:0]).empty


def test_each_scope_is_compared_by_itself_and_p_values_are_adjusted_over_all() -> None:
    other = "synthgym/core@3pc"
    rows = [score("SeFAR", seed, 60.0 + seed) for seed in range(6)]
    rows += [score("supervised", seed, 50.0 + seed + 0.1 * seed) for seed in range(6)]
    rows += [score("fixmatch τ=0.5", seed, 61.0 + seed) for seed in range(6)]
    rows += [score("SeFAR", seed, 80.0 + seed, other) for seed in range(6)]
    rows += [score("supervised", seed, 79.0 + 1.4 * seed, other) for seed in range(6)]
    found = comparisons(pd.DataFrame(rows))
    assert [one.difference.method for one in found] == ["fixmatch τ=0.5", "supervised", "supervised"]
    assert found[0].difference.interval.value == pytest.approx(1.0)
    assert found[1].difference.interval.value == pytest.approx(-10 + 0.1 * 2.5)
    assert found[2].difference.interval.value == pytest.approx(0.0)
    assert [one.direction for one in found] == [0, -1, 0]  # six equal differences have no interval
    assert tally(found, lambda one: one.difference.method) == (
        "by single intervals better in 0 of 3, worse in 1 (supervised), not told apart in 2 (fixmatch τ=0.5, "
        "supervised); after Holm's correction 1 of these differences remain"
    )
    assert "better in 1 of 3 (supervised), worse in none" in tally(
        found, lambda one: one.difference.method, of_other=True
    )
    assert np.isnan(found[0].adjusted_p)  # six equal differences: no spread, and no comparison of Holm's
    assert found[1].adjusted_p == pytest.approx(2 * found[1].difference.p_value) and found[1].adjusted_p < 1e-4
    forest = forest_of(found)
    assert (
        list(forest["adjusted_p"].values()) == [one.adjusted_p for one in found] and "3 comparisons" in forest["note"]
    )
    assert list(forest["differences"]) == [
        "fixmatch τ=0.5 − SeFAR, core@1pc",
        "supervised − SeFAR, core@1pc",
        "supervised − SeFAR, core@3pc",
    ]
    assert "at core@3pc" in found[2].sentence() and "cannot be told from nothing" in found[2].sentence()


def test_places_without_the_other_method_and_runs_without_the_value_are_left_out() -> None:
    rows = [score("SeFAR", 0, 60.0), score("supervised", 0, 50.0), score("supervised", 1, np.nan)]
    rows += [score("supervised", 0, 50.0, "synthgym/core@3pc")]
    (one,) = comparisons(pd.DataFrame(rows))
    assert one.base_scope == "synthgym/core@1pc" and one.difference.pairs == 1
    assert comparisons(pd.DataFrame(rows), methods=lambda name: name == "ups") == []


def test_several_runs_of_one_seed_are_left_out_and_told() -> None:
    """As two recipes under one name make them; which of them would count cannot be known."""
    rows = [score("SeFAR", seed, 60.0 + seed) for seed in range(3)] + [score("ups", seed, 50.0) for seed in range(3)]
    assert len(comparisons(pd.DataFrame(rows))) == 1 and repeated(pd.DataFrame(rows)) == []
    twice = pd.DataFrame([*rows, score("ups", 1, 10.0)])
    assert comparisons(twice) == []
    (told,) = repeated(twice)
    assert told.startswith("left out: ups at core@1pc of study s has several runs of one label split and training seed")
    assert comparisons(pd.DataFrame([*rows, score("SeFAR", 1, 10.0)])) == []


def test_sentences_name_their_study_where_there_are_several() -> None:
    rows = [score("SeFAR", seed, 60.0 + seed) for seed in range(3)]
    rows += [score("ups", seed, 50.0 + 2 * seed) for seed in range(3)]
    (one,) = sentences(comparisons(pd.DataFrame(rows)))
    assert "study" not in one
    both = pd.DataFrame(rows + [row | {"study": "t"} for row in rows])
    assert [said.rpartition(", ")[2] for said in sentences(comparisons(both))] == ["study s", "study t"]


def test_the_threshold_of_fixmatch_is_chosen_on_dev_and_test_plays_no_part() -> None:
    rows = [score("SeFAR", 0, 60.0)]
    for method, dev, test in (("fixmatch τ=0.5", 70.0, 10.0), ("fixmatch τ=0.8", 60.0, 90.0)):
        rows += [score(method, seed, test) | {"dev_student_top1": dev} for seed in range(2)]
    chosen, said = with_chosen_fixmatch(pd.DataFrame(rows))
    assert chosen.groupby("method").test_student_top1.mean().to_dict() == {"FixMatch": 10.0, "SeFAR": 60.0}
    assert said == ["FixMatch at core@1pc of s: fixmatch τ=0.5 is best on dev."]
    assert with_chosen_fixmatch(pd.DataFrame(rows[:1]))[1] == []
    rows += [score("fixmatch_single τ=0.8", seed, 20.0) | {"dev_student_top1": 95.0} for seed in range(2)]
    chosen, said = with_chosen_fixmatch(pd.DataFrame(rows))
    assert sorted(chosen.method.unique()) == ["FixMatch", "SeFAR", "single-level FixMatch"]
    assert said[1:] == ["single-level FixMatch at core@1pc of s: fixmatch_single τ=0.8 is best on dev."]
