"""Label efficiency: error against labelled clips, a line a method with its power law; the paper's numbers beside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from studies.results.figures.footer import footer
from studies.results.figures.style import (
    FAINT,
    GREY,
    PAGE_IN,
    SMALL_PT,
    Look,
    NothingToDraw,
    fitted,
    logarithmic,
    looks,
    new_figure,
    styled,
    thinned,
    tidy,
)
from studies.results.published import TOP1, published
from studies.results.stats.blocks import blocks_of
from studies.results.stats.bootstrap import stratified_interval
from studies.results.stats.scaling import PowerLaw, fit_power_law

VALUE = "test_student_top1"
LEAST_FRACTIONS = 4  # a curve of three parameters through three points would fit anything
DODGE = 1.05  # methods of one number of labels stand beside each other, by this factor
BEYOND = 4.0  # the law is drawn up to so many times the most labels


def label_curve(scores: pd.DataFrame, value: str = VALUE) -> pd.DataFrame:
    """Mean and interval of every method at every number of labelled clips.

    Args:
        scores: of `studies.results.scores.tidy_scores`.
        value: column of the accuracy, percent.

    Returns:
        ``subset``, ``method``, ``fraction``, ``labelled_clips`` (mean over runs), ``runs``, ``accuracy``, ``low`` and
        ``high`` (95 %, NaN for one run).

    Raises:
        NothingToDraw: no finished trial has both.
    """
    known = scores[scores[value].notna()] if len(scores) else scores
    if known.empty:
        raise NothingToDraw(
            f"no finished trial with '{value}'; run studies/label_efficiency.py, which evaluates on test clips"
        )
    known = known[known.labelled_clips.notna() & (known.labelled_clips > 0)]
    if known.empty:
        raise NothingToDraw(
            "the trials do not say how many labelled clips they had: the store is older than schema 2; run the study "
            "again into a new store"
        )
    rows = []
    for (subset, method, fraction), group in known.groupby(["subset", "method", "fraction"], sort=False):
        shared = 1 < group.split_seed.nunique() < len(group)
        splits = {"runs": group.split_seed.to_numpy()} if shared else None
        interval = stratified_interval({"runs": group[value].to_numpy()}, clusters=splits)
        rows.append(
            {
                "subset": subset,
                "method": method,
                "fraction": fraction,
                "labelled_clips": float(group.labelled_clips.mean()),
                "runs": len(group),
                "accuracy": interval.value,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return pd.DataFrame(rows).sort_values(["subset", "method", "labelled_clips"], ignore_index=True)


def law_runs(rows: pd.DataFrame, value: str = VALUE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, errors and seeds of one method's runs, as `fit_power_law` and `held_out_check` take them.

    Label splits of one fraction may differ by a clip or two; they are one point of the law, at their mean. Label sets
    of one split seed are nested, so it is what runs share; where there is one split only, the training seed.

    Args:
        rows: of `studies.results.scores.tidy_scores`, of one subset and method; those without value are left out.
        value: column of the accuracy, percent.

    Returns:
        ``labels_N``, ``error_N`` in percent and ``seeds_N``.
    """
    known = rows[rows[value].notna() & (rows.labelled_clips > 0)]
    labels = known.groupby("fraction").labelled_clips.transform("mean")
    seeds_N = np.array([seed for _, seed in blocks_of(known)])
    return labels.to_numpy(), 100 - known[value].to_numpy(), seeds_N


def power_laws(scores: pd.DataFrame, value: str = VALUE, seed: int = 0) -> dict[tuple[str, str], PowerLaw]:
    """A power law of the error for every subset and method with enough label fractions; others have none."""
    found = {}
    known = scores[scores[value].notna() & (scores.labelled_clips > 0)]
    for (subset, method), group in known.groupby(["subset", "method"], sort=False):
        if group.fraction.nunique() >= LEAST_FRACTIONS:
            labels_N, error_N, seeds_N = law_runs(group, value)
            found[str(subset), str(method)] = fit_power_law(labels_N, error_N, seeds_N=seeds_N, seed=seed)
    return found


@styled
def draw_label_efficiency(
    scores: pd.DataFrame,
    *,
    value: str = VALUE,
    laws: Mapping[tuple[str, str], PowerLaw] | None = None,
    paper: pd.DataFrame | None = None,
) -> Figure:
    """Error against the number of labelled clips (logarithmic), a panel a subset, and the paper's numbers beside.

    Lines beyond the data, over grey ground, are the fitted law's word alone.

    Args:
        scores: of `studies.results.scores.tidy_scores`, of one stage.
        value: column of the accuracy, percent.
        laws: of (subset, method); None: `power_laws` of the scores. An empty mapping draws none.
        paper: of `studies.results.published.published`, a line a data set and method; an empty one: no such panel;
            None: FineDiving with and without regulation.

    Returns:
        A figure of page width.

    Raises:
        NothingToDraw: no finished trial has an accuracy and a number of labelled clips.
    """
    curves = label_curve(scores, value)
    laws = power_laws(scores, value) if laws is None else laws
    lines = paper_lines(published("regulation") if paper is None else paper)
    subsets = list(dict.fromkeys(curves.subset))
    count = len(subsets) + bool(lines)
    across = min(count, 3)
    down = math.ceil(count / across)
    figure = new_figure(PAGE_IN, 2.35 * down)
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    styles = looks(curves.method)
    for axis, subset in zip(axes, subsets, strict=False):
        _ours(axis, curves[curves.subset == subset], {m: law for (s, m), law in laws.items() if s == subset}, styles)
        axis.set_title(fitted(figure, subset.removeprefix("synthgym/"), PAGE_IN / across - 0.5, 8))
    if lines:
        _theirs(axes[len(subsets)], lines)
    for axis in axes[count:]:
        axis.set_visible(False)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=k.colour, marker=k.marker, ls=k.line, label=fitted(figure, m, 3.0))
        for m, k in styles.items()
    ]
    if laws:
        handles += [Patch(facecolor=FAINT, label="beyond the data: a + b · n^(−β), fitted")]
    footer(figure, handles)
    return figure


def _ours(axis: Axes, curves: pd.DataFrame, laws: Mapping[str, PowerLaw], styles: Mapping[str, Look]) -> None:
    most, least = curves.labelled_clips.max(), curves.labelled_clips.min()
    logarithmic(axis)
    methods = list(dict.fromkeys(curves.method))
    for number, (method, curve) in enumerate(curves.groupby("method", sort=False)):
        look = styles[str(method)]
        beside = DODGE ** (number - (len(methods) - 1) / 2)
        x, error = curve.labelled_clips.to_numpy(), 100 - curve.accuracy.to_numpy()
        law = laws.get(str(method))
        axis.plot(x * beside, error, ls="" if law else look.line, marker=look.marker, color=look.colour, zorder=3)
        bounded = curve[curve.low.notna()]
        axis.vlines(
            bounded.labelled_clips * beside, 100 - bounded.high, 100 - bounded.low, color=look.colour, lw=1.2, zorder=2
        )
        if law:
            inside = np.geomspace(x.min(), x.max(), 60)
            beyond = np.geomspace(x.max(), BEYOND * most, 30)
            axis.plot(inside, law.predict(inside), color=look.colour, ls=look.line, lw=1.2, zorder=2)
            low, high = law.band(beyond)
            axis.fill_between(beyond, low, high, color=look.colour, alpha=0.12, lw=0, zorder=1)
            axis.plot(beyond, law.predict(beyond), color=look.colour, ls=(0, (4, 2)), lw=1, alpha=0.8, zorder=2)
    if laws:
        axis.axvspan(most * 1.06, BEYOND * most, color=FAINT, alpha=0.6, lw=0, zorder=0)
    axis.set_xlim(least / 1.4, BEYOND * most if laws else most * 1.4)
    axis.set_ylim(bottom=max(0.0, axis.get_ylim()[0]))
    places = sorted(set(curves.labelled_clips))
    left, right = (math.log10(edge) for edge in axis.get_xlim())
    kept = thinned([math.log10(place) for place in places], (right - left) / 8)
    axis.set_xticks([places[n] for n in kept], [f"{places[n]:.0f}" for n in kept])
    axis.minorticks_off()
    axis.set_xlabel("labelled clips (number)")
    axis.set_ylabel("error on test (%)")
    tidy(axis, grid="both")


def paper_lines(paper: pd.DataFrame) -> dict[str, dict[float, float]]:
    """The paper's top-1 by label fraction in percent, by data set and method."""
    words = {"with": "with regulation", "without": "without regulation"}
    lines: dict[str, dict[float, float]] = {}
    for row in paper[paper.unit == TOP1].itertuples():
        method = words.get(str(row.method), str(row.method))
        lines.setdefault(f"{row.data_set}, {method}", {})[100 * float(str(row.fraction))] = float(str(row.value))
    return lines


def _theirs(axis: Axes, lines: Mapping[str, Mapping[float, float]]) -> None:
    logarithmic(axis)
    styles: list[tuple[str, Any]] = list(zip("os^Dv", ("-", ":", "--", "-.", (0, (5, 1))), strict=True)) * len(lines)
    for (name, numbers), (marker, line) in zip(lines.items(), styles, strict=False):
        x = sorted(numbers)
        error = [100 - numbers[fraction] for fraction in x]
        axis.plot(x, error, marker=marker, ls=line, color=GREY, mfc="white", mew=1, label=name)
    axis.set_xlabel("labelled clips (% of all)")
    axis.set_ylabel("error on test (%)")
    axis.set_title("paper (real clips)")
    tidy(axis, grid="both")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.11 * len(lines) * (high - low))  # room for the legend
    axis.legend(loc="upper right", fontsize=SMALL_PT, handlelength=2.4)
