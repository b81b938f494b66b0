"""Figures that compare: leaderboard, forest, perturbations, thresholds, label efficiency, profiles."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from studies.results.figures.forest import BETTER, UNCLEAR, UNKNOWN, WORSE, difference_row, draw_forest
from studies.results.figures.label_efficiency import draw_label_efficiency, label_curve, paper_lines, power_laws
from studies.results.figures.leaderboard import LOOKS, draw_leaderboard
from studies.results.figures.panels import ordered_scopes
from studies.results.figures.perturbations import draw_perturbations, paper_by_kind
from studies.results.figures.profiles import draw_profiles
from studies.results.figures.style import GREY, NAMED_LOOKS, PAPER, NothingToDraw
from studies.results.figures.thresholds import draw_thresholds, fixed_threshold, is_adaptive
from studies.results.published import published
from studies.results.scores import tidy_scores
from studies.results.stats.interval import Interval
from studies.results.stats.multiplicity import comparison_note
from studies.results.stats.paired import paired_difference
from tests.studies.figures.extents import assert_readable, strings
from tests.studies.figures.synthetic import (
    SIX_SCOPES,
    confirm_trials,
    efficiency_scores,
    grid_trials,
    predictions_of,
    search_trials,
    threshold_scores,
)

ONE = SIX_SCOPES[0]
SEARCH = search_trials([ONE], 14)


def markers(axis) -> list:
    """Lines that are the single mark of a row, top to bottom."""
    found = [line for line in axis.lines if len(line.get_xdata()) == 1 and line.get_marker() not in ("|", "None")]
    return sorted(found, key=lambda line: line.get_ydata()[0])


def test_a_leaderboard_of_a_search_ranks_by_dev_and_draws_test():
    figure = draw_leaderboard(SEARCH, top=3)
    (axis,) = figure.axes
    finished = SEARCH[SEARCH.status == "finished"].sort_values("dev_student_top1", ascending=False)
    expected = pd.concat([finished.head(3), finished.iloc[3:][finished.iloc[3:].role.isin(["default", "supervised"])]])
    assert [line.get_xdata()[0] for line in markers(axis)] == pytest.approx(expected.test_student_top1.tolist())
    labels = [tick.get_text() for tick in axis.get_yticklabels()]
    assert labels[0].startswith(f"{expected.number.iloc[0]:03d}  ")
    assert {"paper's default", "supervised baseline"} <= set(labels)
    assert axis.get_xlabel() == "test top-1 of the student (%)" and "one run each" in axis.get_title(loc="right")
    colours = {line.get_color() for line in markers(axis)}
    assert LOOKS["default"].colour in colours and LOOKS["supervised"].colour in colours
    assert_readable(figure)


def test_without_test_clips_the_leaderboard_draws_dev():
    axis = draw_leaderboard(search_trials([ONE], 6, test=False)).axes[0]
    assert axis.get_xlabel() == "dev top-1 of the student (%)"


def test_a_single_run_has_the_interval_of_its_clips():
    trials = SEARCH[SEARCH.status == "finished"].head(3)
    trials = trials.assign(test_student_top1=[70.0, 60.0, 50.0])
    predictions = pd.concat([predictions_of(t, 6, 8, seed=k) for k, t in enumerate(trials.trial_id)])
    figure = draw_leaderboard(trials, predictions=predictions)
    assert "95 % interval over groups of clips" in figure.axes[0].get_title(loc="right")
    right = [top[0] == label for top, label in zip(predictions.student_top5, predictions.label, strict=True)]
    top1 = 100 * pd.Series(right).groupby(predictions.trial_id.to_numpy()).mean()
    shown = [line.get_xdata()[0] for line in markers(figure.axes[0])]
    order = trials.sort_values("dev_student_top1", ascending=False).trial_id
    assert shown == pytest.approx([top1[t] for t in order])
    intervals = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.8]
    assert len(intervals) == 3 and all(line.get_xdata()[0] < line.get_xdata()[1] for line in intervals)


def test_a_confirmed_leaderboard_draws_means_over_runs_with_every_run():
    trials = pd.concat([SEARCH, confirm_trials(SEARCH, runs=4, best=2)], ignore_index=True)
    figure = draw_leaderboard(trials)
    (axis,) = figure.axes
    rows = trials[trials.stage == "confirm"]
    means = rows.groupby(["role", "confirms"])[["dev_student_top1", "test_student_top1"]].mean()
    expected = means.sort_values("dev_student_top1", ascending=False).test_student_top1
    assert [line.get_xdata()[0] for line in markers(axis)] == pytest.approx(expected.tolist())
    runs = [line for line in axis.lines if line.get_marker() == "|"]
    assert [len(line.get_xdata()) for line in runs] == [4, 4, 4, 4]
    assert all(text.endswith("n = 4") for text in strings(figure) if "[" in text)
    assert axis.get_title(loc="right") == "core@1pc: confirmed over seeds and splits, 95 % interval over runs"
    assert_readable(figure)


@pytest.mark.parametrize(
    ("trials", "width_in"),
    [(search_trials(SIX_SCOPES, 8), 7.0), (search_trials([ONE], 1), 7.0), (search_trials([ONE], 30), 3.4)],
    ids=["six scopes", "one trial", "column"],
)
def test_leaderboards_are_readable_whatever_the_study(trials, width_in):
    figure = draw_leaderboard(trials, top=5, width_in=width_in)
    assert len(figure.axes) == trials.scope.nunique() and figure.get_figwidth() == width_in
    assert_readable(figure)


def test_a_leaderboard_needs_a_finished_trial():
    for rows in (SEARCH.iloc[:0], SEARCH[SEARCH.status == "pruned"]):
        with pytest.raises(NothingToDraw, match="no finished trial to rank: wait for one, or continue"):
            draw_leaderboard(rows)


DIFFERENCES = {
    "a − b": Interval(3.0, 1.0, 5.0),
    "b − c": Interval(-2.0, -3.0, -1.0),
    "c − d": Interval(-0.01, -1.0, 2.0),
    "d − e": Interval(4.0, math.nan, math.nan),
}


def test_a_forest_tells_what_is_proven_by_colour_marker_and_filling():
    rows = [difference_row(label, d) for label, d in DIFFERENCES.items()]
    assert [row.look for row in rows] == [BETTER, WORSE, UNCLEAR, UNKNOWN]
    assert [row.filled for row in rows] == [True, True, False, False]
    assert [row.said for row in rows] == ["+3.0 [+1.0, +5.0]", "−2.0 [−3.0, −1.0]", "0.0 [−1.0, +2.0]", "+4.0"]
    figure = draw_forest(DIFFERENCES, note=comparison_note(4))
    shown = markers(figure.axes[0])
    assert [line.get_xdata()[0] for line in shown] == [3.0, -2.0, -0.01, 4.0]
    assert len({(line.get_color(), line.get_marker()) for line in shown}) == 4
    assert figure.axes[0].get_xlabel() == "difference in test top-1 (points)"
    assert any("4 comparisons" in text for text in strings(figure))
    assert_readable(figure)


def test_a_forest_of_paired_runs_shows_pairs_and_p_value():
    scores = threshold_scores(seeds=4)
    found = paired_difference(scores, "SeFAR", "supervised")
    figure = draw_forest({"SeFAR − supervised, on a scope with a name that is rather long for one line": found})
    (dots,) = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert sorted(dots.get_xdata()) == pytest.approx(sorted(found.per_pair.difference))
    shown = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.2g}"
    assert any("n = 4" in text and shown in text for text in strings(figure))
    assert_readable(figure)
    column = draw_forest({"SeFAR − supervised": found.interval}, width_in=3.4)
    assert_readable(column)


def test_what_several_comparisons_do_not_bear_out_is_grey():
    assert difference_row("x", DIFFERENCES["a − b"], 0.5).look is UNCLEAR
    assert difference_row("x", DIFFERENCES["a − b"], 0.05).look is BETTER
    found = paired_difference(threshold_scores(seeds=4), "SeFAR", "supervised")
    figure = draw_forest({"x": found, "y": found}, adjusted_p={"x": 0.25, "y": 0.0004})
    told = strings(figure)
    assert any("adjusted p = 0.25" in text for text in told) and any("adjusted p < 0.001" in text for text in told)
    assert markers(figure.axes[0])[0].get_markerfacecolor() == "white"
    assert_readable(figure)


def test_a_forest_needs_a_pair():
    scores = threshold_scores(seeds=1)
    scores.loc[scores.method == "SeFAR", "train_seed"] = 9
    nothing = paired_difference(scores, "SeFAR", "supervised")
    with pytest.raises(NothingToDraw, match="two methods need finished trials of the same scope, label split"):
        draw_forest({"x": nothing})


def perturbation_differences() -> dict:
    means = {"reverse_fine": 66, "none": 61, "drop": 61.5, "reverse_channels": 59}
    roles = {"reference" if kind == "reverse_fine" else f"perturbations/{kind}": m for kind, m in means.items()}
    scores = tidy_scores(grid_trials(roles, "synthgym/core@1pc", 4)).replace({"method": {"SeFAR": "reverse_fine"}})
    return {kind: paired_difference(scores, kind, "none") for kind in means if kind != "none"}


def test_perturbations_lie_beside_the_papers_differences_to_none():
    found = perturbation_differences()
    figure = draw_perturbations(found)
    ours, theirs = figure.axes
    labels = [tick.get_text() for tick in ours.get_yticklabels()]
    assert labels[0] == "reverse_fine" and "none" not in labels and {"warp", "half", "reverse_channels"} <= set(labels)
    shown = [line.get_xdata()[0] for line in markers(ours)]
    assert shown == pytest.approx(sorted((d.interval.value for d in found.values()), reverse=True))
    columns = [line for line in theirs.lines if line.get_linestyle() == "None"]
    assert len(columns) == 3 and len({line.get_marker() for line in columns}) == 3
    best = {round(float(max(line.get_xdata())), 3) for line in columns}
    assert best == {2.5, 3.4, 4.3}  # reverse_fine − none in the paper's Table 4
    assert strings(figure).count("not run") == labels.__len__() - 3
    assert ours.get_xlim() == theirs.get_xlim()
    assert_readable(figure)


def test_the_papers_numbers_by_kind():
    by_kind = paper_by_kind(published("perturbations"))
    assert by_kind["none"] == {"Gym99 5 %": 34.2, "Gym288 5 %": 24.4, "FineDiving 5 %": 67.9}
    with pytest.raises(NothingToDraw, match=r"run studies/ablation\.py perturbations"):
        draw_perturbations({})


def test_thresholds_are_read_from_names_and_from_parameters():
    assert fixed_threshold("fixmatch τ=0.95", "{}") == 0.95 and fixed_threshold("tau_0", "") == 0.0
    assert math.isnan(fixed_threshold("fixmatch_single τ=0.95", "{}"))  # another network
    assert fixed_threshold("trial 004: x", '{"weighting.kind": "fixed", "weighting.threshold": 0.6}') == 0.6
    assert math.isnan(fixed_threshold("x", '{"weighting.kind": "adaptive", "weighting.threshold": 0.6}'))
    assert is_adaptive("SeFAR", "reference", "{}") and not is_adaptive("tau_0.5", "thresholds/tau_0.5", "{}")
    assert is_adaptive("trial 1", "search", '{"weighting.kind": "adaptive"}')


def test_thresholds_are_a_curve_with_regulation_across():
    scores = threshold_scores(seeds=4)
    figure = draw_thresholds(scores)
    (axis,) = figure.axes
    curve = next(line for line in axis.lines if line.get_linestyle() == "--")
    assert curve.get_xdata().tolist() == [0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95]
    half = scores[scores.method == "tau_0.5"].test_student_top1.mean()
    assert curve.get_ydata()[2] == pytest.approx(half)
    across = [line for line in axis.lines if line.get_color() == PAPER]
    assert across[0].get_ydata()[0] == pytest.approx(scores[scores.method == "SeFAR"].test_student_top1.mean())
    assert len(axis.patches) == 1  # the band
    said = strings(figure)
    assert "fixed threshold τ (least confidence that counts)" in said and "supervised baseline" in said
    assert_readable(figure)
    assert_readable(draw_thresholds(threshold_scores([s.partition("#")[0] for s in SIX_SCOPES], seeds=1)))
    with pytest.raises(NothingToDraw, match=r"run studies/ablation\.py thresholds, or a search"):
        draw_thresholds(scores[scores.method == "SeFAR"])
    with pytest.raises(NothingToDraw, match="no finished trial with a fixed threshold"):
        draw_thresholds(scores.iloc[:0])


EFFICIENCY = efficiency_scores(3)


def test_a_label_curve_has_a_mean_and_an_interval_a_fraction():
    curve = label_curve(EFFICIENCY)
    few = curve[(curve.method == "SeFAR") & (curve.fraction == "1pc")].iloc[0]
    runs = EFFICIENCY[(EFFICIENCY.method == "SeFAR") & (EFFICIENCY.fraction == "1pc")].test_student_top1
    assert (few.labelled_clips, few.runs) == (12, 3) and few.accuracy == pytest.approx(runs.mean())
    assert few.low < few.accuracy < few.high
    assert curve[curve.method == "SeFAR"].labelled_clips.tolist() == [12, 36, 90, 270, 900]


def test_label_efficiency_draws_errors_laws_and_the_papers_numbers():
    figure = draw_label_efficiency(EFFICIENCY)
    ours, theirs = figure.axes
    assert ours.get_xscale() == "log" and [t.get_text() for t in ours.get_xticklabels()] == [
        "12",
        "36",
        "90",
        "270",
        "900",
    ]
    look = NAMED_LOOKS["SeFAR"]
    (points,) = [line for line in ours.lines if line.get_marker() == look.marker]
    curve = label_curve(EFFICIENCY)
    assert points.get_ydata() == pytest.approx(100 - curve[curve.method == "SeFAR"].accuracy.to_numpy())
    beyond = [line for line in ours.lines if max(line.get_xdata()) > 1000]
    assert len(beyond) == 4 and all(min(line.get_xdata()) == pytest.approx(900) for line in beyond)
    law = power_laws(EFFICIENCY)["synthgym/core", "SeFAR"]
    mine = next(line for line in beyond if line.get_color() == look.colour)
    assert mine.get_ydata()[-1] == pytest.approx(float(law.predict(3600)))
    assert {line.get_color() for line in theirs.lines} == {GREY}
    regulated = next(line for line in theirs.lines if "with regulation" in line.get_label())
    assert regulated.get_xdata() == pytest.approx([1, 3, 5, 7, 10])
    assert regulated.get_ydata() == pytest.approx([33.7, 30.5, 27.8, 25.4, 21.6])
    assert ours.get_xlabel() == "labelled clips (number)" and ours.get_ylabel() == "error on test (%)"
    assert_readable(figure)


def test_too_few_fractions_have_no_law_and_nothing_is_drawn_beyond():
    few = efficiency_scores(1, (("1pc", 12), ("3pc", 36)))
    assert power_laws(few) == {}
    figure = draw_label_efficiency(few, paper=published("main").iloc[:0])
    (ours,) = [axis for axis in figure.axes if axis.get_visible()]
    assert 36 <= max(max(line.get_xdata()) for line in ours.lines) < 40 and not ours.patches
    assert_readable(figure)


def test_label_efficiency_has_a_panel_a_subset():
    several = pd.concat([EFFICIENCY.assign(subset=name) for name in ("synthgym/core", "finegym/gym99", "b/c")])
    figure = draw_label_efficiency(several, laws={})
    titles = [axis.get_title() for axis in figure.axes if axis.get_visible()]
    assert titles == ["b/c", "finegym/gym99", "core", "paper (real clips)"]
    assert_readable(figure)


def test_the_papers_lines_by_data_set():
    lines = paper_lines(published("main"))
    assert lines["UCF101, SeFAR-B"] == pytest.approx({1.0: 50.3, 5.0: 77.6, 10.0: 87.0})


def test_label_efficiency_says_what_is_missing():
    with pytest.raises(NothingToDraw, match=r"run studies/label_efficiency\.py"):
        draw_label_efficiency(EFFICIENCY.iloc[:0])
    with pytest.raises(NothingToDraw, match="no finished trial with 'test_student_top1'"):
        draw_label_efficiency(EFFICIENCY.assign(test_student_top1=np.nan))
    with pytest.raises(NothingToDraw, match="the store is older than schema 2; run the study again"):
        draw_label_efficiency(EFFICIENCY.assign(labelled_clips=np.nan))


def test_profiles_have_a_line_and_a_band_a_method():
    table = pd.DataFrame({"threshold": [40.0, 50.0], "share": [1.0, 0.25], "low": [0.9, 0.1], "high": [1.0, 0.5]})
    without_band = table.assign(low=np.nan, high=np.nan)
    figure = draw_profiles({"SeFAR": table, "a method with a name that goes on and on and on": without_band})
    (axis,) = figure.axes
    assert axis.lines[0].get_ydata().tolist() == [100.0, 25.0] and axis.lines[0].get_color() == PAPER
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.lines}) == 2
    assert axis.get_ylabel() == "runs above τ (%)" and axis.get_xlabel().endswith("(%)")
    assert_readable(figure)
    with pytest.raises(NothingToDraw, match="no finished run to profile"):
        draw_profiles({"a": table.iloc[:0]})


def test_scopes_are_ordered_by_subset_and_labels():
    names = [("b/x", "0.1"), ("a/x", "1"), ("a/x", "10pc"), ("a/x", "0.05"), ("a/x", "3pc")]
    scores = pd.DataFrame([{"base_scope": f"{s}@{f}", "subset": s, "fraction": f} for s, f in [*names, names[0]]])
    assert ordered_scopes(scores) == ["a/x@3pc", "a/x@10pc", "a/x@0.05", "a/x@1", "b/x@0.1"]
