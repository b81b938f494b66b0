"""Fixed thresholds against adaptive regulation: accuracy by τ, with regulation as a band across."""

from __future__ import annotations

import json
import math
import re

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.results.figures.footer import footer
from studies.results.figures.panels import ordered_scopes, scope_panels
from studies.results.figures.style import (
    BLACK,
    BLUE,
    PAPER,
    NothingToDraw,
    styled,
    tidy,
)
from studies.results.fixmatch import FIXMATCH, family_of
from studies.results.schema import DEFAULT, SEARCH, TRANSFER
from studies.results.scores import BASELINE, OURS
from studies.results.stats.bootstrap import stratified_interval
from studies.results.stats.interval import Interval

NAMED = re.compile(r"(?:τ=|tau_)(?P<threshold>[0-9.]+)\Z")
KIND, THRESHOLD = "weighting.kind", "weighting.threshold"


def fixed_threshold(method: str, parameters: str) -> float:
    """The threshold τ of a method of fixed threshold, by its name or by what a search chose; NaN of others.

    Of FixMatch on another network than SeFAR's too: its thresholds are no part of that line.
    """
    if family_of(method) not in (None, FIXMATCH):
        return math.nan
    if named := NAMED.search(method):
        return float(named["threshold"])
    chosen = json.loads(parameters or "{}")
    return float(chosen.get(THRESHOLD, math.nan)) if chosen.get(KIND) == "fixed" else math.nan


def is_adaptive(method: str, role: str, parameters: str) -> bool:
    """Whether a trial is regulated: SeFAR itself, or what a search made of it."""
    if method in (OURS, "adaptive"):
        return True
    return role in (SEARCH, TRANSFER, DEFAULT) and json.loads(parameters or "{}").get(KIND) == "adaptive"


@styled
def draw_thresholds(scores: pd.DataFrame, *, value: str = "test_student_top1") -> Figure:
    """Accuracy by fixed threshold τ, a panel a scope; adaptive regulation and the supervised baseline lie across.

    Args:
        scores: of `studies.results.scores.tidy_scores`: of the ablation ``thresholds``, of
            ``studies/label_efficiency.py``, or of a search, whose trials differ in more than the threshold.
        value: column of the accuracy, percent.

    Returns:
        A figure of column width for one scope, else of page width.

    Raises:
        NothingToDraw: no trial has a fixed threshold.
    """
    rows = scores[scores[value].notna()] if len(scores) else scores
    said = list(zip(rows.method, rows.role, rows.parameters, strict=True)) if len(rows) else []
    rows = rows.assign(
        threshold=[fixed_threshold(method, parameters) for method, _, parameters in said],
        adaptive=[is_adaptive(method, role, parameters) for method, role, parameters in said],
    )
    scopes = ordered_scopes(rows[rows.threshold.notna()])
    if not scopes:
        raise NothingToDraw(
            f"no finished trial with a fixed threshold and '{value}': run studies/ablation.py thresholds, or a search"
        )
    figure, axes = scope_panels(scopes, sharex=True)
    drawn: set[str] = set()
    for scope, axis in axes.items():
        drawn |= _panel(axis, rows[rows.base_scope == scope], value)
    part, _, network = value.removesuffix("_top1").partition("_")
    lines = {
        "fixed": Line2D([], [], color=BLUE, marker="o", ls="--", label="fixed threshold, mean (95 %)"),
        "adaptive": Line2D([], [], color=PAPER, lw=1.6, label="adaptive regulation, mean and 95 % band"),
        "supervised": Line2D([], [], color=BLACK, ls=":", label="supervised baseline"),
    }
    footer(
        figure,
        [line for name, line in lines.items() if name in drawn],
        xlabel="fixed threshold τ (least confidence that counts)",
        ylabel=f"{part} top-1 of the {network} (%)",
    )
    return figure


def _interval(values: pd.Series) -> Interval:
    return stratified_interval({"runs": values.to_numpy()})


def _panel(axis: Axes, rows: pd.DataFrame, value: str) -> set[str]:
    """Draw a scope; returns which of the lines it has."""
    drawn = {"fixed"}
    fixed = rows[rows.threshold.notna()]
    means = {float(str(tau)): _interval(group[value]) for tau, group in fixed.groupby("threshold")}
    axis.plot(list(means), [i.value for i in means.values()], color=BLUE, marker="o", ls="--", zorder=3)
    for tau, interval in means.items():
        if interval.known:
            axis.plot([tau, tau], [interval.low, interval.high], color=BLUE, lw=1.3, zorder=3)
    axis.plot(fixed.threshold, fixed[value], ls="", marker="_", ms=6, color=BLUE, alpha=0.5, zorder=2)
    if rows.adaptive.any():
        drawn.add("adaptive")
        interval = _interval(rows[value][rows.adaptive])
        axis.axhline(interval.value, color=PAPER, lw=1.6, zorder=2)
        if interval.known:
            axis.axhspan(interval.low, interval.high, color=PAPER, alpha=0.18, lw=0, zorder=0)
    if (rows.method == BASELINE).any():
        drawn.add("supervised")
        axis.axhline(rows[value][rows.method == BASELINE].mean(), color=BLACK, ls=":", lw=1.2, zorder=1)
    axis.margins(x=0.08, y=0.1)
    tidy(axis)
    return drawn
