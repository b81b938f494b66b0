"""Intervals over clips, whole groups resampled."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from studies.results.stats.clips import (
    DIFFERENCE,
    NO_GROUPS,
    accuracy_interval,
    clustered_difference,
    clustered_interval,
    right_clips,
)


def predictions(right: list[bool], groups: list[object] | None, trial: str = "t", teacher: bool = True) -> pd.DataFrame:
    rows = []
    for number, hit in enumerate(right):
        top5 = [3, 1, 0] if hit else [1, 3, 0]
        rows.append(
            {
                "trial_id": trial,
                "part": "test",
                "clip_id": f"c{number}",
                "label": 3,
                "group": None if groups is None else groups[number],
                "student_top5": np.array(top5),
                "teacher_top5": np.array(top5[::-1]) if teacher else None,
            }
        )
    return pd.DataFrame(rows)


def test_value_in_percent_and_the_width_of_independent_clips() -> None:
    right = np.random.default_rng(0).random(400) < 0.7
    found = clustered_interval(right, np.arange(400), resamples=5000)
    assert found.value == 100 * right.mean()
    assert found.half_width == pytest.approx(196 * math.sqrt(right.mean() * (1 - right.mean()) / 400), rel=0.05)
    assert found.reason == ""


def test_clips_of_a_group_that_go_together_count_as_one() -> None:
    right = np.repeat(np.random.default_rng(0).random(40) < 0.7, 10)
    alone = clustered_interval(right, np.arange(400))
    together = clustered_interval(right, np.repeat(np.arange(40), 10))
    assert together.value == alone.value
    assert together.half_width == pytest.approx(math.sqrt(10) * alone.half_width, rel=0.15)
    assert together == clustered_interval(right, np.repeat(np.arange(40), 10))


def test_bounds_stay_within_0_and_100() -> None:
    found = clustered_interval([1, 1, 1, 1, 1, 0], [0, 0, 1, 1, 2, 2])
    assert found.high == 100 and found.low < 100 * 5 / 6


def test_the_width_of_five_groups_is_students() -> None:
    right = np.concatenate([np.arange(20) < hits for hits in (10, 12, 14, 16, 18)])
    found = clustered_interval(right, np.repeat(np.arange(5), 20), resamples=20_000)
    deviation = 100 * np.std([0.5, 0.6, 0.7, 0.8, 0.9], ddof=1)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, 4) * deviation / math.sqrt(5), rel=0.05)


def test_groups_of_unequal_size_count_as_fewer() -> None:
    sizes, hits = np.array([40, 10, 10, 10, 10, 10, 10]), np.array([20, 7, 8, 3, 6, 4, 9])
    right = np.concatenate([np.arange(size) < hit for size, hit in zip(sizes, hits, strict=True)])
    groups = np.repeat(np.arange(7), sizes)
    found = clustered_interval(right, groups, resamples=20_000)
    effective = 100**2 / (40**2 + 6 * 10**2)  # 4.5 groups of 7
    assert found.reason == "the clips count as 4.5 groups, so the interval is rough"
    # the standard error of the ratio, to first order
    error = 100 * math.sqrt((((hits - sizes * right.mean()) / 100) ** 2).sum() * effective / (effective - 1))
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, effective - 1) * error, rel=0.15)
    assert found.half_width > 1.2 * stats.t.ppf(0.975, 6) * error * math.sqrt(7 / 6 * (effective - 1) / effective)


def test_a_gain_has_bounds_on_both_sides_of_0() -> None:
    gained = np.array([1.0] * 2 + [0.0] * 18)
    up = clustered_interval(gained, np.repeat(np.arange(5), 4), bounds=DIFFERENCE)
    down = clustered_interval(-gained, np.repeat(np.arange(5), 4), bounds=DIFFERENCE)
    assert up.value == 10 == -down.value and up.low <= 0 <= down.high
    two = clustered_interval(gained, None, bounds=DIFFERENCE)
    assert two.low < 0 < two.high and clustered_interval(gained).low == 0
    groups = [0] * 2 + [1] * 8 + [2] * 10
    a, b = predictions([True] * 20, groups), predictions([False] * 2 + [True] * 18, groups, "u")
    assert clustered_difference(a, b).low < -10 and clustered_difference(b, a).high > 10
    with pytest.raises(ValueError, match=r"expected values within 0 and 1, got -1 to 0; give bounds=\(-100"):
        clustered_interval(0 - gained)


def test_many_clips_without_groups_need_little_memory() -> None:
    right = np.random.default_rng(0).random(8500) < 0.7
    tracemalloc.start()
    found = clustered_interval(right)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.half_width == pytest.approx(196 * math.sqrt(0.7 * 0.3 / 8500), rel=0.06) and peak < 20e6


def test_a_clip_without_group_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a group for every clip, got none for 1 of 3; give None where"):
        clustered_interval([1, 0, 1], ["v", None, "w"])


def test_unknown_groups_are_said() -> None:
    right = [True, False, True, True, False]
    assert clustered_interval(right).reason == NO_GROUPS
    assert accuracy_interval(predictions(right, None)).reason == NO_GROUPS
    assert accuracy_interval(predictions(right, [0, 1, 2, 3, 4])).reason == ""


def test_no_interval_from_one_group_or_from_groups_that_agree() -> None:
    one = clustered_interval([1, 0, 1], ["v", "v", "v"])
    assert one.value == pytest.approx(200 / 3) and not one.known and one.reason.startswith("one group only")
    agreed = clustered_interval([1, 1, 1], [0, 1, 2])
    assert agreed.value == 100 and not agreed.known and agreed.reason.startswith("all groups agree")


def test_difference_pairs_by_clip_whatever_the_order() -> None:
    groups = [0, 0, 1, 1, 2, 2]
    a = predictions([True, True, True, False, True, True], groups)
    b = predictions([True, False, True, False, False, False], groups, "u").iloc[::-1]
    found = clustered_difference(a, b)
    assert found.value == pytest.approx(50) and found.low < 50 < found.high
    assert clustered_difference(b, a).value == pytest.approx(-50)
    same = clustered_difference(a, a)
    assert same.value == 0 and not same.known
    assert clustered_difference(a, b, model="teacher", other_model="student").value == pytest.approx(-100 * 2 / 6)


def test_shared_difficulty_cancels_in_a_difference() -> None:
    rng = np.random.default_rng(5)
    right = rng.random(300) < 0.6
    better = right | (rng.random(300) < 0.1)
    groups = list(np.repeat(np.arange(60), 5))
    a, b = predictions(better.tolist(), groups), predictions(right.tolist(), groups, "u")
    assert clustered_difference(a, b).half_width < 0.6 * accuracy_interval(a).half_width


def test_groups_of_either_trial_will_do() -> None:
    a = predictions([True, True, False, True], None)
    b = predictions([False, True, False, True], [0, 0, 1, 1], "u")
    assert clustered_difference(a, b).reason == "the clips count as 2.0 groups, so the interval is rough"


def test_other_clips_or_labels_are_refused() -> None:
    a = predictions([True, False, True], None)
    with pytest.raises(ValueError, match="1 clips only in a, 0 only in b, for instance 'c2'"):
        clustered_difference(a, a.iloc[:2])
    with pytest.raises(ValueError, match="clip 'c0' has another label in b"):
        clustered_difference(a, a.assign(label=4))


def test_bad_predictions_are_refused() -> None:
    rows = predictions([True, False], [0, 1])
    with pytest.raises(ValueError, match="expected the rows of one trial, got none"):
        right_clips(rows.iloc[:0])
    with pytest.raises(ValueError, match="expected one trial_id, got t, u; filter the rows"):
        right_clips(pd.concat([rows, rows.assign(trial_id="u")]))
    with pytest.raises(ValueError, match="expected one part, got test, dev"):
        right_clips(pd.concat([rows, rows.assign(part="dev")]))
    with pytest.raises(ValueError, match="clip 'c0' stands there twice"):
        right_clips(pd.concat([rows, rows.iloc[:1]]))
    with pytest.raises(ValueError, match="the trial has no teacher"):
        right_clips(predictions([True], None, teacher=False), "teacher")
    with pytest.raises(ValueError, match="2 groups of 3 clips"):
        clustered_interval([1, 0, 1], [0, 1])
    with pytest.raises(ValueError, match="at least one clip"):
        clustered_interval([])


def test_right_clips_keep_the_order_and_name_the_prediction() -> None:
    table = right_clips(predictions([False, True], ["v", "w"]))
    assert table.right.tolist() == [False, True] and table.predicted.tolist() == [1, 3]
    assert table.group.tolist() == ["v", "w"] and table.attrs["groups"]
    assert right_clips(predictions([False, True], None)).group.tolist() == ["c0", "c1"]
