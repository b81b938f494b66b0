"""Whether weights find right pseudo-labels, and better than confidence does."""

from __future__ import annotations

import pandas as pd
import pytest

from studies.results.pseudo_labels import accuracy_at, gain, selection_table


def cell(confidence: float, spread: float, clips: int, right: int, weight: float, trial: str = "t0") -> dict:
    return {
        "study": "s",
        "scope": f"synthgym/core@1pc#{trial[1]}",
        "trial_id": trial,
        "epoch": 4,
        "confidence_low": confidence,
        "confidence_high": confidence + 0.1,
        "spread_low": spread,
        "spread_high": spread + 0.01,
        "clips": clips,
        "known_clips": clips,
        "right_clips": right,
        "weight_sum": weight * clips,
    }


# surest: 10 clips, 9 right, weight 0.2; the middle: 30, 12, 0.5; the unsure: 60, 54, 0.9
CELLS = [cell(0.9, 0.04, 10, 9, 0.2), cell(0.5, 0.02, 30, 12, 0.5), cell(0.2, 0.0, 60, 54, 0.9)]


def test_by_hand() -> None:
    (row,) = selection_table(pd.DataFrame(CELLS)).to_dict("records")
    assert row["clips"] == 100 and row["all"] == pytest.approx(75.0)
    assert row["weighted"] == pytest.approx(100 * (9 * 0.2 + 12 * 0.5 + 54 * 0.9) / (10 * 0.2 + 30 * 0.5 + 60 * 0.9))
    assert row["by_weight"] == pytest.approx(90.0)  # all of the half are of the unsure cell: 54 of 60 right
    # 10 of the surest with 9 right, 30 of the middle with 12, 10 of the unsure with 9
    assert row["by_confidence"] == pytest.approx(100 * (9 + 12 + 9) / 50)


def test_accuracy_between_two_points_follows_the_right_clips() -> None:
    curve = pd.DataFrame({"score": [0.9, 0.1], "coverage": [20.0, 100.0], "accuracy": [100.0, 60.0]})
    assert accuracy_at(curve, 20.0) == pytest.approx(100.0)
    assert accuracy_at(curve, 100.0) == pytest.approx(60.0)
    assert accuracy_at(curve, 60.0) == pytest.approx(100 * (20 + 20) / 60)  # half of the other 80, 40 right of them
    assert accuracy_at(curve, 10.0) == pytest.approx(100.0)


def test_trials_of_one_split_are_no_two_witnesses() -> None:
    cells = [c | {"trial_id": t, "scope": s} for t, s in (("t0", "x#0"), ("t1", "x#0"), ("t2", "x#1")) for c in CELLS]
    table = selection_table(pd.DataFrame(cells)).assign(all=[70.0, 71.0, 75.0], weighted=[72.0, 73.0, 80.0])
    difference = gain(table, "weighted", "all")
    assert difference.value == pytest.approx(3.0) and difference.known
    alone = gain(table.iloc[:2], "weighted", "all")
    assert not alone.known and alone.reason


def test_trials_without_known_labels_have_no_row() -> None:
    assert selection_table(pd.DataFrame([c | {"known_clips": 0, "right_clips": 0} for c in CELLS])).empty
