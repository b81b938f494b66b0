"""Probability of improvement."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from studies.results.stats.bootstrap import probability_of_improvement


def test_by_hand_with_a_tie() -> None:
    # pairs won: 3 beats 1 and 2, 2 beats 1 and ties 2 → 3.5 of 4; second scope ½
    found = probability_of_improvement({"s": [3, 2], "t": [0, 1]}, {"s": [1, 2], "t": [0, 1]})
    assert found.value == pytest.approx((3.5 / 4 + 0.5) / 2)
    assert 0 < found.low < found.value < found.high < 1


def test_it_is_the_mann_whitney_statistic() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, 8), rng.normal(0, 1, 6)
    found = probability_of_improvement({"s": a}, {"s": b})
    assert found.value == pytest.approx(stats.mannwhitneyu(a, b).statistic / 48)
    swapped = probability_of_improvement({"s": b}, {"s": a})
    assert swapped.value == pytest.approx(1 - found.value)
    assert (swapped.low, swapped.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_the_interval_stays_open_where_every_run_wins() -> None:
    found = probability_of_improvement({"s": [5, 6, 7]}, {"s": [1, 2, 3]})
    assert found.value == found.high == 1 and 0.3 < found.low < 0.9
    lost = probability_of_improvement({"s": [1, 2, 3]}, {"s": [5, 6, 7]})
    assert lost.value == lost.low == 0 and lost.high == pytest.approx(1 - found.low)


def test_one_run_and_scopes_apart() -> None:
    lone = probability_of_improvement({"s": [5.0]}, {"s": [1.0, 2.0]})
    assert lone.value == 1 and not lone.known and lone.reason.startswith("one run only in s")
    found = probability_of_improvement({"s": [5, 6], "t": [1, 2]}, {"s": [1, 7], "u": [1, 2]})
    assert found.reason == "left out, as only one method has them: t, u"
    with pytest.raises(ValueError, match="a and b share no scope: a has s; b has t"):
        probability_of_improvement({"s": [5]}, {"t": [1]})


def test_seeds_of_one_split_tell_no_more_than_one_run_does() -> None:
    a, b = np.array([5.0, 6, 2, 9, 4]), np.array([3.0, 1, 7, 2, 8])
    one = probability_of_improvement({"s": a}, {"s": b})
    splits = {"s": np.repeat(np.arange(5), 3)}
    thrice = [{"s": np.repeat(scores, 3)} for scores in (a, b)]
    assert probability_of_improvement(*thrice, clusters=(splits, splits)) == one
    assert probability_of_improvement(*thrice).half_width < 0.75 * one.half_width
    lone = probability_of_improvement(*thrice, clusters=({"s": [0] * 15}, splits))
    assert not lone.known and lone.reason.startswith("one label split only in s")


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.5])
def test_intervals_hold_the_truth(distance: float) -> None:
    truth, held = float(stats.norm.cdf(distance / np.sqrt(2))), 0
    for number in range(200):
        rng = np.random.default_rng(number)
        a, b = ({str(s): rng.normal(mean, 1, 5) for s in range(6)} for mean in (distance, 0))
        held += probability_of_improvement(a, b).holds(truth)
    assert held >= 182
