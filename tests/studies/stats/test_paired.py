"""Paired differences, their test and the sentences made of them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from studies.results.stats.answers import answer, told_apart
from studies.results.stats.bootstrap import Interval, PairedDifference, paired_difference
from studies.results.stats.multiplicity import holm
from studies.results.stats.paired import sign_flip_p, t_test_p


def score(method: str, value: float, *, seed: int, split: int | None = None, scope: str = "s@1pc") -> dict[str, object]:
    split = seed if split is None else split
    keys = {"method": method, "base_scope": scope, "split_seed": split, "train_seed": seed}
    return keys | {"test_student_top1": value}


def scores(ours: list[float], theirs: list[float], scope: str = "s@1pc") -> list[dict[str, object]]:
    rows = [score("SeFAR", v, seed=i, scope=scope) for i, v in enumerate(ours)]
    return rows + [score("fixed", v, seed=i, scope=scope) for i, v in enumerate(theirs)]


def test_pairs_by_hand() -> None:
    found = paired_difference(pd.DataFrame(scores([70, 72, 75], [66, 70, 69])), "SeFAR", "fixed")
    assert found.pairs == 3 and found.interval.value == 4 and found.unpaired.empty
    assert found.per_pair.difference.tolist() == [4, 2, 6]
    assert found.per_pair.of_method.tolist() == [70, 72, 75] and found.per_pair.of_other.tolist() == [66, 70, 69]
    # standard deviation 2: t = 4 / (2 / √3) with 2 degrees of freedom
    assert found.p_value == pytest.approx(2 * stats.t.sf(2 * math.sqrt(3), 2))
    # of the 8 sign patterns two are as far from 0
    assert found.sign_p == 2 / 8 and found.least_p == 2 / 8 and found.note == ""
    assert found.interval.low < 4 < found.interval.high


def test_what_differs_between_seeds_alone_does_not_count() -> None:
    found = paired_difference(pd.DataFrame(scores([50, 90, 70], [48.9, 89, 69.1])), "SeFAR", "fixed")
    assert found.interval.value == pytest.approx(1) and found.interval.half_width < 0.5


def test_runs_without_partner_are_left_out_and_listed() -> None:
    rows = [*scores([70, 72, 75, math.nan], [66, 70]), score("fixed", 50, seed=9)]
    found = paired_difference(pd.DataFrame(rows), "SeFAR", "fixed")
    assert found.pairs == 2 and found.interval.value == 3
    assert found.unpaired[["method", "train_seed", "score"]].values.tolist() == [["SeFAR", 2, 75], ["fixed", 9, 50]]
    assert "2 runs without partner left out" in found.note


def test_pairs_are_of_one_scope_and_scopes_are_strata() -> None:
    rows = scores([70, 72], [66, 70], "a@1pc") + scores([40, 42, 44], [40, 41, 46], "b@1pc")
    found = paired_difference(pd.DataFrame(rows), "SeFAR", "fixed")
    assert found.pairs == 5 and found.interval.value == pytest.approx((4 + 2 + 0 + 1 - 2) / 5)
    assert found.per_pair.groupby("base_scope").size().to_dict() == {"a@1pc": 2, "b@1pc": 3}


def test_seeds_of_one_label_split_are_one_block() -> None:
    gains = {0: 1.0, 1: 4.0, 2: 7.0}
    rows = []
    for split, gain in gains.items():
        for seed in (0, 1, 2):
            rows += [score("SeFAR", 60 + gain + seed / 10, seed=seed, split=split)]
            rows += [score("fixed", 60, seed=seed, split=split)]
    found = paired_difference(pd.DataFrame(rows), "SeFAR", "fixed")
    assert found.pairs == 9 and found.least_p == 2 / 8 and found.sign_p == 2 / 8
    assert found.p_value == pytest.approx(stats.ttest_1samp([1.1, 4.1, 7.1], 0).pvalue)
    alone = paired_difference(
        pd.DataFrame([row | {"split_seed": 3 * row["split_seed"] + row["train_seed"]} for row in rows]),
        "SeFAR",
        "fixed",
    )
    assert found.interval.half_width > 1.5 * alone.interval.half_width


def test_one_label_split_is_said_and_its_seeds_count() -> None:
    rows = [row | {"split_seed": 0} for row in scores([70, 72, 75], [66, 70, 69])]
    found = paired_difference(pd.DataFrame(rows), "SeFAR", "fixed")
    assert found.interval.known and found.note.startswith("one label split in s@1pc: other splits are not covered")


def test_one_pair_gives_no_interval() -> None:
    found = paired_difference(pd.DataFrame(scores([70], [66])), "SeFAR", "fixed")
    assert not found.interval.known and found.interval.reason.startswith("one run only in s@1pc")
    assert found.interval.value == 4 and math.isnan(found.p_value) and found.sign_p == 1


def test_no_pairs_are_an_answer_too() -> None:
    rows = [*scores([70], []), score("fixed", 60, seed=5)]
    found = paired_difference(pd.DataFrame(rows), "SeFAR", "fixed")
    assert found.pairs == 0 and math.isnan(found.p_value) and math.isnan(found.interval.value)
    assert answer(found) == (
        "SeFAR cannot be compared against fixed: no pairs: the methods share no scope, label split and training seed"
    )


def test_the_same_seed_gives_the_same_difference() -> None:
    frame = pd.DataFrame(scores([70, 72, 75], [66, 70, 69]))
    assert paired_difference(frame, "SeFAR", "fixed", seed=1) == paired_difference(frame, "SeFAR", "fixed", seed=1)


def test_bad_tables_are_refused() -> None:
    frame = pd.DataFrame(scores([70, 72], [66, 70]))
    with pytest.raises(ValueError, match="method 'sefar' is not among the scores; methods: SeFAR, fixed"):
        paired_difference(frame, "sefar", "fixed")
    with pytest.raises(ValueError, match="no column 'top1'"):
        paired_difference(frame, "SeFAR", "fixed", value="top1")
    twice = pd.concat([frame, frame.iloc[:1]])
    with pytest.raises(ValueError, match=r"two runs of s@1pc, split seed 0, training seed 0; keep one study and one"):
        paired_difference(twice, "SeFAR", "fixed")


def test_sign_flips_by_hand() -> None:
    assert sign_flip_p(np.array([1.0, 2.0, 3.0, 4.0])) == (2 / 16, 2 / 16)
    # |sum| = 2 of (3, -1): patterns ±2 and ±4, all at least as far
    assert sign_flip_p(np.array([3.0, -1.0])) == (1.0, 0.5)
    assert sign_flip_p(np.array([0.0, 0.0]))[0] == 1
    p, least = sign_flip_p(np.ones(40), seed=2)
    assert p == least == 1 / 20_000


def test_many_differences_get_about_the_p_value_of_the_t_test() -> None:
    differences = np.random.default_rng(3).normal(0.4, 1, 30)
    assert sign_flip_p(differences)[0] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)


def test_the_t_test_of_one_scope_is_the_paired_one_of_several_pools_their_variances() -> None:
    rng = np.random.default_rng(5)
    one, two = rng.normal(1, 1, 5), rng.normal(1, 3, 5)
    alone = {"s": np.arange(5)}
    assert t_test_p({"s": one}, alone) == pytest.approx(stats.ttest_1samp(one, 0).pvalue)
    apart = t_test_p({"s": one, "t": two}, {"s": np.arange(5), "t": np.arange(5, 10)})
    # the mean of two means, with Satterthwaite's degrees of freedom: Welch's test of one against −two
    assert apart == pytest.approx(stats.ttest_ind(one, -two, equal_var=False).pvalue)
    # blocks that both scopes share count once: the test of their five means
    together = t_test_p({"s": one, "t": two}, alone | {"t": np.arange(5)})
    assert together == pytest.approx(stats.ttest_1samp((one + two) / 2, 0).pvalue)
    assert math.isnan(t_test_p({"s": one[:1]}, {"s": np.zeros(1)}))
    assert math.isnan(t_test_p({"s": np.array([0.3, 0.1 + 0.2])}, {"s": np.arange(2)}))


def test_three_seeds_can_pass_holm_among_eight_arms() -> None:
    rng, rows = np.random.default_rng(0), scores([70, 72, 75], [])
    for arm in range(8):
        rows += [score(f"arm {arm}", 70 - 6 * (arm == 0) + rng.normal(), seed=seed) for seed in range(3)]
    frame = pd.DataFrame(rows).replace({"test_student_top1": {72: 70.3, 75: 69.8}})
    found = [paired_difference(frame, f"arm {arm}", "SeFAR") for arm in range(8)]
    assert holm([one.sign_p for one in found]).tolist() == [1.0] * 8
    adjusted = holm([one.p_value for one in found])
    assert adjusted[0] < 0.05 and (adjusted[1:] > 0.2).all()


def test_fractions_of_one_data_set_share_their_blocks_and_other_data_sets_do_not() -> None:
    gains = [1.0, 4.0, 2.0, 6.0, 3.0]
    fractions = [row for f in ("s@1pc", "s@3pc") for row in scores([60 + g for g in gains], [60.0] * 5, f)]
    sets = [row for s in ("s@1pc", "t@1pc") for row in scores([60 + g for g in gains], [60.0] * 5, s)]
    one = paired_difference(pd.DataFrame(scores([60 + g for g in gains], [60.0] * 5)), "SeFAR", "fixed")
    both, apart = (paired_difference(pd.DataFrame(rows), "SeFAR", "fixed") for rows in (fractions, sets))
    # the same gains again tell nothing new
    assert both.interval.half_width == pytest.approx(one.interval.half_width, rel=0.03)
    assert both.p_value == pytest.approx(one.p_value) and both.least_p == 2 / 2**5
    assert apart.interval.half_width < 0.75 * one.interval.half_width and apart.least_p == 2 / 2**10


def made(value: float, low: float, high: float, *, pairs: int = 6, least_p: float = 0.03, reason: str = ""):
    empty = pd.DataFrame()
    interval = Interval(value, low, high, reason=reason)
    return PairedDifference("SeFAR", "constant", "test_student_top1", interval, pairs, empty, empty, 0.03, least_p)


def test_sentences() -> None:
    gain = made(3.1, 1.9, 4.3)
    assert answer(gain, what="adaptive regulation", where="1pc") == (
        "adaptive regulation is worth 3.1 ± 1.2 points against constant (95 % interval 1.9 to 4.3, 6 pairs) at 1pc"
    )
    assert answer(made(-3.1, -4.3, -1.9)) == (
        "SeFAR costs 3.1 ± 1.2 points against constant (95 % interval 1.9 to 4.3, 6 pairs)"
    )
    assert answer(made(0.4, -1.0, 1.8), where="0.25") == (
        "SeFAR cannot be told from nothing against constant: +0.4 points (95 % interval -1.0 to 1.8, 6 pairs) at 0.25"
    )
    lone = made(3.0, math.nan, math.nan, pairs=1, reason="one run only in s: its spread is not known")
    assert answer(lone) == (
        "SeFAR differs by +3.0 points against constant (1 pair), but how surely cannot be said: one run only in s: "
        "its spread is not known"
    )
    assert answer(gain, adjusted_p=0.04) == answer(gain)
    assert answer(gain, adjusted_p=0.2).endswith("but does not stand among several comparisons (adjusted p = 0.2)")
    # the bounds lie 11.2 and 21.5 away: no ± says that
    assert answer(made(-19.8, -41.3, -8.6, pairs=3)) == (
        "SeFAR costs 19.8 points against constant (95 % interval 8.6 to 41.3, 3 pairs)"
    )
    assert "is worth 3.1 ± 1.2 points" in answer(made(3.1, 1.94, 4.26)) and "±" not in answer(made(3.1, 1.84, 4.26))
    assert told_apart(gain.interval) and not told_apart(lone.interval)
