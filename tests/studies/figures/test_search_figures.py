"""Figures of a search: learning curves, slices, parallel coordinates, strengths, importance, regret, cost."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from studies.results.figures.cost import draw_cost, pareto_front
from studies.results.figures.importance import draw_importance
from studies.results.figures.learning_curves import draw_learning_curves, learning_curves
from studies.results.figures.parallel_coordinates import ABSENT_Y, draw_parallel_coordinates
from studies.results.figures.parameter_columns import is_logarithmic, is_numeric, parameter_columns, parameter_sign
from studies.results.figures.perturbations import draw_strengths
from studies.results.figures.regret import draw_regret
from studies.results.figures.slices import draw_slices
from studies.results.figures.style import BASELINE, BEST, OTHER, PAPER, NothingToDraw
from studies.results.scores import tidy_scores
from studies.results.stats.importance import Importance
from tests.studies.figures.extents import assert_readable, strings
from tests.studies.figures.synthetic import SIX_SCOPES, epochs_of, search_trials

ONE = SIX_SCOPES[0]
TRIALS = search_trials([ONE], 30)
SINGLE = search_trials([ONE], 1)
SIX = search_trials(SIX_SCOPES, 9)
NONE = TRIALS.iloc[:0]


def test_learning_curves_have_a_line_a_trial_and_a_cross_where_one_was_pruned():
    figure = draw_learning_curves(TRIALS, epochs_of(TRIALS))
    (axis,) = figure.axes
    pruned, ran = (TRIALS.status == "pruned").sum(), (TRIALS.status != "failed").sum()
    crosses = [line for line in axis.lines if line.get_marker() == "x"]
    assert len(crosses) == pruned and len(axis.lines) == ran + pruned + 1  # the best is drawn twice, emphasised
    best = TRIALS[TRIALS.status == "finished"].dev_student_top1.max()
    (emphasised,) = [line for line in axis.lines if line.get_marker() == "o"]
    assert emphasised.get_ydata()[-1] == pytest.approx(best) and emphasised.get_color() == BEST
    assert {line.get_color() for line in axis.lines} == {BEST, PAPER, BASELINE, OTHER}
    said = strings(figure)
    assert f"{best:.1f}" in said and "epoch (finished)" in said and "dev top-1 of the student (%)" in said
    assert_readable(figure)


def test_learning_curves_leave_out_epochs_without_a_value():
    epochs = epochs_of(TRIALS)
    assert epochs.dev_student_top1.isna().any()
    lines = draw_learning_curves(TRIALS, epochs).axes[0].lines
    assert all(np.isfinite(line.get_ydata()).all() for line in lines)


@pytest.mark.parametrize("trials", [SIX, SINGLE], ids=["six scopes", "one trial"])
def test_learning_curves_are_readable_whatever_the_study(trials):
    figure = draw_learning_curves(trials, epochs_of(trials))
    assert len([axis for axis in figure.axes if axis.get_visible()]) == trials.scope.nunique()
    assert_readable(figure)


def test_the_sweeps_picture_is_a_png_alone(tmp_path):
    path = learning_curves(SINGLE, epochs_of(SINGLE), [ONE], tmp_path / "new" / "p.png")
    assert [p.name for p in path.parent.iterdir()] == ["p.png"]


def test_parameters_become_columns_in_a_fixed_order():
    columns = parameter_columns(TRIALS)
    assert list(columns)[:3] == ["perturb.kind", "perturb.strength", "weighting.kind"]
    supervised = TRIALS.index[TRIALS.role == "supervised"]
    assert columns.loc[supervised].isna().all(axis=None)
    assert not is_numeric(columns["perturb.kind"]) and is_numeric(columns["teacher.passes"])
    assert is_logarithmic(pd.Series([5.0, np.nan, 80.0])) and not is_logarithmic(pd.Series([0.0, 4.0]))
    assert parameter_sign("weighting.kappa") == "κ" and parameter_sign("optim.learning_rate") == "learning rate"


def test_slices_have_a_panel_a_parameter_and_mark_pruned_trials_and_the_default():
    figure = draw_slices(TRIALS)
    panels = {axis.get_xlabel(): axis for axis in figure.axes if axis.get_visible()}
    assert set(panels) == {"perturb", "strength", "weighting", "threshold τ", "κ", "α", "passes S", "γ₁", "γ₂"}
    points = {line.get_marker(): line for line in panels["γ₂"].lines if line.get_linestyle() == "None"}
    assert len(points["x"].get_xdata()) == (TRIALS.status == "pruned").sum()
    assert points["D"].get_xdata().tolist() == [2.0]
    others = TRIALS[(TRIALS.status == "finished") & (TRIALS.role == "search")]
    assert sorted(points["o"].get_ydata()) == pytest.approx(sorted(others.dev_student_top1))
    assert panels["κ"].get_xscale() == "log" and panels["γ₂"].get_xscale() == "linear"
    kinds = [tick.get_text() for tick in panels["perturb"].get_xticklabels()]
    assert set(kinds) == {json.loads(p)["perturb.kind"] for p in TRIALS.parameters if p != "{}"}
    (means,) = [c for c in panels["perturb"].collections if isinstance(c, LineCollection)]
    first = [p for p in TRIALS.parameters if p != "{}" and json.loads(p)["perturb.kind"] == kinds[0]]
    rows = TRIALS[TRIALS.parameters.isin(first) & (TRIALS.status == "finished")]
    assert means.get_segments()[0][0] == pytest.approx([-0.3, rows.dev_student_top1.mean()])
    assert_readable(figure)


def test_parallel_coordinates_lead_each_trial_through_its_values():
    figure = draw_parallel_coordinates(TRIALS)
    axis, bar = figure.axes
    usable = TRIALS[TRIALS.status.isin(["finished", "pruned"]) & (TRIALS.role != "supervised")]
    lines = [line for line in axis.lines if len(line.get_ydata()) == 10 and line.get_marker() == "None"]
    assert len(lines) == len(usable)
    assert len([line for line in lines if line.get_linestyle() == ":"]) == (usable.status == "pruned").sum()
    default = next(line for line in axis.lines if line.get_marker() == "D").get_ydata()
    assert default[3] == ABSENT_Y  # a fixed threshold, which adaptive weighting does not have
    passes = [json.loads(p).get("teacher.passes") for p in usable.parameters]
    known = [p for p in passes if p is not None]
    assert default[6] == pytest.approx((10 - min(known)) / (max(known) - min(known)))
    dev = usable.dev_student_top1
    assert default[-1] == pytest.approx((dev.iloc[0] - dev.min()) / (dev.max() - dev.min()))
    assert bar.get_ylabel() == "dev top-1 of the student (%)"
    assert_readable(figure)


@pytest.mark.parametrize("draw", [draw_slices, draw_parallel_coordinates])
def test_one_scope_at_a_time_and_one_trial_is_enough(draw):
    assert_readable(draw(SINGLE))
    assert_readable(draw(SIX, SIX_SCOPES[5]))
    with pytest.raises(ValueError, match=f"6 scopes, expected one of them; give scope='{ONE}'"):
        draw(SIX)
    with pytest.raises(NothingToDraw, match="no search trial with parameters and a dev accuracy; run studies/scope"):
        draw(NONE)
    with pytest.raises(NothingToDraw, match="of finegym/x@1"):
        draw(SIX, "finegym/x@1")


def test_parallel_coordinates_need_a_finished_trial():
    with pytest.raises(NothingToDraw, match="has finished: wait for one"):
        draw_parallel_coordinates(TRIALS[TRIALS.status == "pruned"])


def test_strengths_are_drawn_by_kind_with_the_pruned_as_crosses():
    figure = draw_strengths(TRIALS)
    (axis,) = figure.axes
    points = [line for line in axis.lines if line.get_linestyle() == "None"]
    crosses = sum(len(line.get_xdata()) for line in points if line.get_marker() == "x")
    chosen = TRIALS[TRIALS.parameters.str.contains("strength") & (TRIALS.status != "failed")]
    assert crosses == (chosen.status == "pruned").sum()
    assert sum(len(line.get_xdata()) for line in points) == len(chosen)
    said = strings(figure)
    assert "strength (probability that the perturbation applies)" in said and "none" not in said
    assert_readable(figure)
    assert_readable(draw_strengths(SIX))
    with pytest.raises(NothingToDraw, match=r"no search has varied perturb\.strength"):
        draw_strengths(TRIALS[TRIALS.role == "supervised"])
    with pytest.raises(NothingToDraw, match=r"no search has varied perturb\.strength"):
        draw_strengths(NONE)


def importance_of(values: dict[str, tuple[float, float]], warning: str | None = None) -> Importance:
    table = pd.DataFrame([(k, *v) for k, v in values.items()], columns=["parameter", "fanova", "ped_anova"])
    return Importance(table, warning, pd.DataFrame(), finished=6, pruned=2, explained=0.5)


def test_importance_has_two_bars_a_parameter_and_shows_its_warning():
    warning = "6 finished trials for 3 parameters are too few. fANOVA leaves out weighting.kappa."
    few = importance_of({"perturb.kind": (0.2, 0.1), "teacher.passes": (0.8, 0.3), "weighting.kappa": (np.nan, 0.6)})
    figure = draw_importance({ONE: Importance(few.table, warning, few.conditional, 6, 2, 0.5)})
    (axis,) = figure.axes
    upper, lower = axis.containers
    assert [bar.get_width() for bar in upper] == pytest.approx([0.8, 0.2, 0.0])
    assert [bar.get_width() for bar in lower] == pytest.approx([0.3, 0.1, 0.6])
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["passes S", "perturb", "κ"]
    assert upper[0].get_facecolor() != lower[0].get_facecolor() and lower[0].get_hatch()
    shown = " ".join(strings(figure)).replace("\n", " ")
    assert "6 finished trials for 3 parameters are too few" in shown and "leaves out κ" in shown
    assert "–" in strings(figure)  # not assessed, which is not 0
    assert_readable(figure)


def test_importance_of_many_scopes_says_which_have_none():
    nothing = importance_of({}, "4 finished trials: at least 5 are needed for any importance")
    some = importance_of({f"optim.parameter_{n}": (n / 10, 0.1) for n in range(5)}, "Too few. " * 20)
    figure = draw_importance({scope: nothing if n == 4 else some for n, scope in enumerate(SIX_SCOPES)})
    assert len([axis for axis in figure.axes if axis.get_visible()]) == 5
    assert any(text.startswith("finegym/gym99@0.05: 4 finished trials") for text in strings(figure))
    assert_readable(figure)
    with pytest.raises(NothingToDraw, match=r"no importance of parameters: 4 finished trials.*--extend"):
        draw_importance({ONE: nothing})


def regret_of(scopes: tuple[str, ...], hours: float) -> pd.DataFrame:
    best = [60.0, 60.0, 64.0, 65.0]
    rows = [
        {"scope": s, "order": n + 1, "cost_seconds": hours * 900 * (n + 1), "best_so_far": b, "regret": 65 - b}
        for s in scopes
        for n, b in enumerate(best)
    ]
    return pd.DataFrame(rows)


def test_regret_falls_in_steps_over_trials_and_over_time():
    figure = draw_regret(regret_of((ONE,), hours=4))
    by_order, by_cost = figure.axes
    assert by_order.lines[0].get_ydata().tolist() == [5.0, 5.0, 1.0, 0.0]
    assert by_cost.lines[0].get_xdata().tolist() == [1.0, 2.0, 3.0, 4.0]
    assert by_cost.get_xlabel() == "time of those trials (h)"
    assert draw_regret(regret_of((ONE,), hours=0.5)).axes[1].get_xlabel() == "time of those trials (min)"
    assert_readable(figure)
    assert_readable(draw_regret(regret_of(SIX_SCOPES, 4)))
    with pytest.raises(NothingToDraw, match=r"regret needs a search; run studies/scope_sweep\.py"):
        draw_regret(regret_of((), 1))


def test_the_pareto_front_keeps_what_no_cheaper_trial_beats():
    cost, accuracy = np.array([3.0, 1.0, 2.0, 4.0, 1.0]), np.array([7.0, 5.0, 4.0, 7.0, 6.0])
    assert pareto_front(cost, accuracy).tolist() == [4, 0]


def test_cost_draws_the_front_and_fills_its_points():
    scores = tidy_scores(TRIALS)
    figure = draw_cost(scores)
    (axis,) = figure.axes
    points = [line for line in axis.lines if line.get_linestyle() == "None"]
    assert sum(len(line.get_xdata()) for line in points) == len(scores)
    filled = [line for line in points if line.get_markerfacecolor() == line.get_color()]
    front = pareto_front(scores.seconds.to_numpy(), scores.dev_student_top1.to_numpy())
    assert sum(len(line.get_xdata()) for line in filled) == len(front)
    said = strings(figure)
    assert "training time of the trial (s)" in said and "dev top-1 of the student (%)" in said
    assert_readable(figure)
    assert_readable(draw_cost(tidy_scores(SIX), value="test_student_top1"))
    assert_readable(draw_cost(tidy_scores(SINGLE)))
    with pytest.raises(NothingToDraw, match="accelerator_seconds is 0 on CPUs"):
        draw_cost(scores, cost="accelerator_seconds")
    with pytest.raises(NothingToDraw, match="no finished trial with 'dev_student_top1'"):
        draw_cost(scores.iloc[:0])
