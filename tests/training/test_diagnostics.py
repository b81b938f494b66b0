"""Hand-computed cases of what is right and who knows it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from sefar.training.diagnostics import (
    Answers,
    confusion_matrix,
    confusion_table,
    expected_calibration_error,
    per_class_table,
    pseudo_label_table,
    reliability_bins,
    reliability_table,
    selection_bins,
)
from sefar.training.evaluate import accuracy_metrics
from sefar.training.regulation import SPREAD_EDGES

LABEL_N = np.array([0, 0, 1, 1, 1])
CLASSES = ["turn", "leap", "salto"]  # no clip is a salto
PROBS_NK = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.8, 0.0], [0.05, 0.9, 0.05], [0.1, 0.3, 0.6]])
STUDENT = Answers(
    probs_NK=PROBS_NK,
    pseudo_label_N=np.array([0, 1, 1, 1, 1]),
    confidence_N=np.array([0.95, 0.3, 0.9, 0.55, 0.52]),
    spread_N=np.array([0.0, 0.3, 0.005, 0.006, 0.7]),
)
TEACHER = Answers(
    probs_NK=np.eye(3)[[0, 0, 1, 1, 2]],
    pseudo_label_N=np.array([0, 0, 1, 1, 2]),
    confidence_N=np.ones(5),
    spread_N=np.zeros(5),
)
BOTH = {"student": STUDENT, "teacher": TEACHER}
NAN = float("nan")


def test_confusion_has_true_classes_as_rows() -> None:
    counts_KK = confusion_matrix(LABEL_N, STUDENT.predicted_N, 3)
    assert counts_KK.tolist() == [[1, 1, 0], [0, 2, 1], [0, 0, 0]]
    table = confusion_table(BOTH, LABEL_N, CLASSES)
    assert table.columns.tolist() == ["network", "true", *CLASSES]
    assert table.network.tolist() == ["student"] * 3 + ["teacher"] * 3
    assert table.iloc[1].tolist() == ["student", "leap", 0, 2, 1]
    assert table.iloc[3].tolist() == ["teacher", "turn", 2, 0, 0]


def test_classes_may_be_called_like_the_columns() -> None:
    table = confusion_table({"student": STUDENT}, LABEL_N, ["true", "network", "true"])
    assert table.columns.tolist() == ["network", "true", "true", "network", "true"]
    assert table.iloc[0].tolist() == ["student", "true", 1, 1, 0]


def test_per_class_table_knows_no_accuracy_without_clips() -> None:
    table = per_class_table(BOTH, LABEL_N, CLASSES)
    expected = pd.DataFrame(
        {
            "label": [0, 1, 2],
            "class_name": CLASSES,
            "clips": [2, 3, 0],
            "student_top1": [50.0, 200 / 3, NAN],
            "teacher_top1": [100.0, 200 / 3, NAN],
        }
    )
    pd.testing.assert_frame_equal(table, expected)
    assert list(per_class_table({"student": STUDENT}, LABEL_N, CLASSES).columns)[-1] == "student_top1"


def test_reliability_bins_hold_their_upper_edge() -> None:
    confidence_N, right_N = PROBS_NK.max(1), STUDENT.predicted_N == LABEL_N
    table = reliability_bins(confidence_N, right_N, bins=5)  # 0.6 and 0.8 lie on edges
    assert table.confidence_low.tolist() == [0, 0.2, 0.4, 0.6, 0.8]
    assert table.clips.tolist() == [0, 0, 2, 2, 1]
    np.testing.assert_allclose(table.confidence_mean, [NAN, NAN, 0.6, 0.75, 0.9])
    np.testing.assert_allclose(table.right_share, [NAN, NAN, 0, 1, 1])
    # (2 · |0 − 0.6| + 2 · |1 − 0.75| + 1 · |1 − 0.9|) / 5
    assert expected_calibration_error(confidence_N, right_N, bins=5) == pytest.approx(36)


def test_calibration_error_counts_bins_not_clips() -> None:
    sure_N = np.full(4, 0.75)
    assert expected_calibration_error(sure_N, np.array([1, 1, 1, 0])) == pytest.approx(0)
    assert expected_calibration_error(sure_N, np.zeros(4)) == pytest.approx(75)
    assert expected_calibration_error(np.ones(4), np.array([1, 1, 1, 0])) == pytest.approx(25)
    metrics = accuracy_metrics(torch.from_numpy(PROBS_NK), LABEL_N, "student")
    assert metrics == pytest.approx(
        {"student_top1": 60, "student_top5": 100, "student_mean_class": 175 / 3, "student_ece": 36}
    )


def test_reliability_of_both_networks_side_by_side() -> None:
    table = reliability_table(BOTH, LABEL_N)
    assert len(table) == 15
    assert table.columns.tolist() == [
        "confidence_low",
        "confidence_high",
        *(f"{n}_{c}" for n in BOTH for c in ("clips", "confidence_mean", "right_share")),
    ]
    assert table.teacher_clips.tolist() == [0] * 14 + [5]
    assert table.teacher_right_share.iloc[-1] == 0.8
    assert table.student_clips.sum() == 5


def test_a_threshold_on_confidence_keeps_what_lies_at_or_above_it() -> None:
    table = selection_bins(
        np.array([0.95, 0.9, 0.5, 0.55, 0.1]),
        np.array([True, True, True, False, False]),
        np.array([0, 0.5, 0.9, 1]),
        keep="above",
    )
    assert table.clips.tolist() == [1, 2, 2]
    assert table.right_share.tolist() == [0, 0.5, 1]
    assert table.coverage.tolist() == [1, 0.8, 0.4]
    assert table.kept_right_share.tolist() == [0.6, 0.75, 1]


def test_a_threshold_on_spread_keeps_what_lies_at_or_below_it() -> None:
    table = selection_bins(
        np.array([0, 0.01, 0.02, 0.05, 0.9]),  # the last beyond the edges
        np.array([True, True, True, False, False]),
        np.array([0, 0.01, 0.05, 0.5]),
        keep="below",
    )
    assert table.clips.tolist() == [2, 2, 1]
    assert table.right_share.tolist() == [1, 0.5, 0]
    assert table.coverage.tolist() == [0.4, 0.8, 1]
    assert table.kept_right_share.tolist() == [1, 0.75, 0.6]


def test_a_threshold_that_keeps_nothing_is_neither_right_nor_wrong() -> None:
    table = selection_bins(np.array([0.2, 0.3]), np.array([True, False]), np.array([0, 0.5, 1]), keep="above")
    assert table.coverage.tolist() == [1, 0]
    assert table.right_share.isna().tolist() == table.kept_right_share.isna().tolist() == [False, True]


def test_pseudo_labels_by_confidence_and_by_spread() -> None:
    table = pseudo_label_table(BOTH, LABEL_N)
    values = ["clips", "right_share", "coverage", "kept_right_share"]
    assert table.columns.tolist() == ["by", "low", "high", *(f"{n}_{v}" for n in BOTH for v in values)]
    confidence, spread = (table[table.by == by].reset_index(drop=True) for by in ("confidence", "spread"))
    assert len(confidence) == len(spread) == 10
    assert confidence.student_clips.tolist() == [0, 0, 0, 1, 0, 2, 0, 0, 0, 2]
    assert confidence.student_right_share[3] == 0
    assert confidence.student_coverage.tolist() == [1, 1, 1, 1, 0.8, 0.8, 0.4, 0.4, 0.4, 0.4]
    assert spread.low.tolist() == list(SPREAD_EDGES[:-1])
    assert spread.student_clips.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert spread.student_right_share[9] == 0.5
    assert spread.student_coverage.tolist() == [0.4, *[0.6] * 8, 1]
    assert confidence.teacher_kept_right_share[9] == spread.teacher_kept_right_share[0] == 0.8
