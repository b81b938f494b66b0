"""Figures of clips: regulation, confusion, per-class change, strips."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from sefar.ssl.weighting import WeightingConfig, build_weighting
from studies.results.figures.clip_strips import draw_clip_strips
from studies.results.figures.confusion import draw_confusion
from studies.results.figures.per_class import class_changes, draw_per_class
from studies.results.figures.predicted import class_table, predicted
from studies.results.figures.regulation import adaptive_weight, coverage_curve, draw_regulation, regulation_cells
from studies.results.figures.style import BLUE, VERMILION, NothingToDraw
from tests.studies.figures.extents import assert_readable, strings
from tests.studies.figures.synthetic import clip_frames, predictions_of, regulation_of


def cell(c: float, s: tuple[float, float], clips: int, right: int, trial: str = "t", epoch: int = 1) -> dict:
    return {
        "trial_id": trial,
        "epoch": epoch,
        "confidence_low": c,
        "confidence_high": c + 0.1,
        "spread_low": s[0],
        "spread_high": s[1],
        "clips": clips,
        "known_clips": clips,
        "right_clips": right,
        "weight_sum": clips / 2,
    }


CELLS = pd.DataFrame(
    [
        cell(0.9, (0.0, 0.005), 10, 9, epoch=2),
        cell(0.5, (0.1, 0.2), 30, 6, epoch=2),
        cell(0.5, (0.1, 0.2), 99, 0, epoch=1),
        cell(0.9, (0.0, 0.005), 10, 8, trial="u"),
    ]
)


def test_cells_add_up_the_last_epoch_of_every_trial():
    cells = regulation_cells(CELLS)
    assert cells[["clips", "right_clips"]].to_numpy().tolist() == [[30, 6], [20, 17]]
    assert cells.accuracy.tolist() == pytest.approx([20.0, 85.0]) and cells.weight.tolist() == [0.5, 0.5]


def test_coverage_counts_the_clips_that_a_threshold_keeps():
    cells = regulation_cells(CELLS)
    curve = coverage_curve(cells, cells.confidence_low.to_numpy())
    assert curve.score.tolist() == [0.9, 0.5]
    assert curve.coverage.tolist() == pytest.approx([40.0, 100.0])
    assert curve.accuracy.tolist() == pytest.approx([85.0, 46.0])


def test_the_surface_is_the_weight_of_training():
    scheme = build_weighting(WeightingConfig(kind="adaptive", alpha=0.5, kappa=60.0), 3)
    confidence, spread = torch.tensor([0.2, 0.9, 1.0]).double(), torch.tensor([0.3, 0.01, 0.0]).double()
    expected = scheme.weights(confidence, spread, torch.zeros(3, dtype=torch.long)).tolist()
    assert adaptive_weight(confidence.numpy(), spread.numpy(), 0.5, 60.0).tolist() == pytest.approx(expected)
    assert adaptive_weight(np.ones(1), np.zeros(1))[0] == pytest.approx(1.0)


def test_regulation_has_three_panels_with_counts_and_the_data_on_the_surface():
    figure = draw_regulation(CELLS)
    accuracy, surface, coverage = figure.axes[0], figure.axes[2], figure.axes[4]
    mesh = accuracy.collections[0]
    grid = mesh.get_array().reshape(10, 10)
    assert grid[0, 9] == pytest.approx(85.0) and grid[8, 5] == pytest.approx(20.0) and grid.mask.sum() == 98
    assert sorted(text.get_text() for text in accuracy.texts) == ["20", "30"]
    discs = surface.collections[-1].get_offsets()
    assert discs.tolist() == [[5.5, 8.5], [9.5, 0.5]]
    assert coverage.lines[0].get_ydata() == pytest.approx([85.0, 46.0])
    assert accuracy.get_xlabel() == surface.get_xlabel() == "confidence c (probability)"
    assert coverage.get_xlabel().endswith("(% of clips)")
    assert_readable(figure)
    assert_readable(draw_regulation(regulation_of(), alpha=0.25, kappa=80))


def test_regulation_says_what_is_missing():
    with pytest.raises(NothingToDraw, match="no rows of 'regulation': the trials had no unlabelled clips, or stopped"):
        draw_regulation(CELLS.iloc[:0])
    with pytest.raises(NothingToDraw, match="the unlabelled clips have no hidden label; use a scope that is cut"):
        draw_regulation(regulation_of(known=False))


def test_predictions_are_read_by_network_and_part():
    rows = predictions_of(classes=3, clips=2)
    table = predicted(rows)
    assert table.said.tolist() == [top[0] for top in rows.student_top5]
    assert table.right.tolist() == (table.said == rows.label).tolist()
    assert class_table(table).clips.tolist() == [2, 2, 2]
    with pytest.raises(NothingToDraw, match=r"no predictions of the teacher on test clips.*choose a finished trial"):
        predicted(rows, network="teacher")
    with pytest.raises(NothingToDraw, match="on dev clips"):
        predicted(rows, part="dev")
    with pytest.raises(NothingToDraw, match="no predictions"):
        predicted(rows.iloc[:0])
    with pytest.raises(ValueError, match="expected rows of one trial, got 2; filter by trial_id"):
        predicted(pd.concat([rows, predictions_of("u", 3, 2)]))


def three_classes(names: bool = True) -> pd.DataFrame:
    """Classes 0 and 2 of set A, 1 of set B; 2 is said for 0 once."""
    rows = [
        {"label": label, "student_top5": np.array([said, 9]), "clip_id": str(n), "group": f"v{n // 2}"}
        for n, (label, said) in enumerate([(0, 0), (0, 2), (1, 1), (1, 1), (2, 2), (2, 1)])
    ]
    table = pd.DataFrame(rows).assign(trial_id="t", part="test", label_name=None, set=None)
    if names:
        table["label_name"] = table.label.map({0: "jump $1", 1: "turn", 2: "leap"})
        table["set"] = table.label.map({0: "A", 1: "B", 2: "A"})
    return table


def test_confusion_orders_classes_by_set_and_outlines_the_sets():
    figure = draw_confusion(three_classes())
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["jump $1  0", "leap  2", "turn  1"]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0", "2", "1"]
    share = axis.images[0].get_array().filled(0)
    assert share.tolist() == [[50, 50, 0], [0, 50, 50], [0, 0, 100]]
    blocks = [(*p.get_xy(), p.get_width()) for p in axis.patches]
    assert blocks == [(-0.5, -0.5, 2), (1.5, 1.5, 1)]
    said = "student on test: 66.7 % of 6 clips right; 50 % of the errors stay within the set (outlined)"
    assert said in strings(figure)
    assert figure.axes[1].get_ylabel() == "share of the class's clips (%)"
    assert_readable(figure)


def test_confusion_of_an_older_store_has_numbers_and_no_blocks():
    figure = draw_confusion(three_classes(names=False))
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["0", "1", "2"] and not axis.patches
    assert "student on test: 66.7 % of 6 clips right" in strings(figure)
    assert_readable(figure)
    missing = three_classes().drop(columns=["label_name", "set"])
    assert_readable(draw_confusion(missing))


@pytest.mark.parametrize(
    ("classes", "names", "label"),
    [(28, True, "class (name and number)"), (99, True, "set of classes"), (99, False, "class (number)")],
)
def test_confusion_is_readable_with_many_classes(classes, names, label):
    figure = draw_confusion(predictions_of(classes=classes, clips=3, names=names))
    assert figure.axes[0].get_ylabel() == label
    assert_readable(figure)
    height, width = figure.axes[0].images[0].get_array().shape
    assert height == width == classes


def test_class_changes_are_those_of_the_same_clips():
    now, before = three_classes(), three_classes()
    now["student_top5"] = [[0], [0], [1], [0], [2], [2]]
    table = class_changes(now, before)
    assert table.label.tolist() == [0, 2, 1]
    assert table.change.tolist() == [50.0, 50.0, -50.0]
    assert table[["clips", "gained", "lost"]].to_numpy().tolist() == [[2, 1, 0], [2, 1, 0], [2, 0, 1]]
    assert table.name.tolist() == ["jump $1", "leap", "turn"]
    assert table.low.isna().all()  # one group a class
    with pytest.raises(NothingToDraw, match="the two trials share no clip: compare trials of one data set"):
        class_changes(now, before.assign(clip_id=["x"] * 6))


def test_per_class_bars_are_sorted_and_say_their_clips():
    now, before = predictions_of("a", 10, 12, 0.7, seed=3), predictions_of("b", 10, 12, 0.5)
    table = class_changes(now, before)
    figure = draw_per_class(now, before, names=("trial 004: drop 0.5 · fixed τ 0.8", "paper's default"))
    (axis,) = figure.axes
    widths = [bar.get_width() for bar in axis.containers[0]]
    assert widths == pytest.approx(table.change.tolist()) and widths == sorted(widths, reverse=True)
    first = table.iloc[0]
    assert f"+{first.gained} −{first.lost} of 12" in strings(figure)
    assert axis.get_xlabel() == "change of the student's accuracy on test clips (points)"
    assert "trial 004: drop 0.5 · fixed τ 0.8 − paper's default" in axis.get_title(loc="right")
    bounds = table[["low", "high"]].to_numpy()
    assert np.nanmin(bounds) >= -100 and np.nanmax(bounds) <= 100
    assert_readable(figure)


def test_of_many_classes_those_that_changed_most_are_shown():
    now, before = predictions_of("a", 99, 4, 0.6, seed=3), predictions_of("b", 99, 4, 0.55)
    table = class_changes(now, before)
    figure = draw_per_class(now, before, most=12)
    widths = [bar.get_width() for bar in figure.axes[0].containers[0]]
    assert sorted(map(abs, widths)) == sorted(table.change.abs(), reverse=False)[-12:]
    assert "The 87 classes that changed least are not shown." in strings(figure)
    assert_readable(figure)


def test_strips_show_chosen_frames_under_their_captions():
    long = (
        "(VT) handspring forward with 1 turn off, said: (VT) handspring forward stretched; confidence 0.81, spread 0.02"
    )
    clip = clip_frames(16, 32, 40)
    figure = draw_clip_strips([(long, clip)], [("short", clip[:3])], frames=4)
    strips = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert [s.shape for s in strips] == [(32, 4 * 41, 3), (32, 3 * 41, 3)]
    assert (strips[0][:, :40] == clip[0]).all() and (strips[0][:, 41:81] == clip[5]).all()
    assert (strips[0][:, 123:163] == clip[15]).all() and (strips[0][:, 40] == 255).all()
    bars = [axis.get_facecolor() for axis in figure.axes if not axis.images]
    assert len(set(bars)) == 2
    said = strings(figure)
    assert "+ gained: only the first trial is right (1 of 1)" in said
    assert "− lost: only the second trial is right (1 of 1)" in said
    assert_readable(figure)
    assert BLUE != VERMILION


def test_strips_need_a_clip_of_the_right_shape():
    with pytest.raises(NothingToDraw, match="no clip was gained or lost"):
        draw_clip_strips([], [])
    with pytest.raises(
        ValueError, match=r"strip 'a': expected uint8 frames \(T, H, W, 3\), got float64 \(2, 4, 4, 3\)"
    ):
        draw_clip_strips([("a", np.zeros((2, 4, 4, 3)))])
    only_lost = draw_clip_strips([], [("b", clip_frames(2))])
    assert "gained" not in " ".join(strings(only_lost))
