"""Slices: each parameter of a search against dev accuracy."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from studies.results.figures.footer import footer
from studies.results.figures.parameter_columns import is_logarithmic, is_numeric, parameter_columns, parameter_sign
from studies.results.figures.style import (
    BEST,
    GREY,
    OTHER,
    PAGE_IN,
    PAPER,
    SMALL_PT,
    NothingToDraw,
    fitted,
    logarithmic,
    new_figure,
    styled,
    tidy,
)
from studies.results.leaderboard import search_rows, short_scope
from studies.results.schema import DEFAULT, FINISHED, METRIC, PRUNED, SUPERVISED

PANELS_A_ROW = 3


def searched(trials: pd.DataFrame, scope: str | None) -> tuple[pd.DataFrame, str]:
    """The trials of one scope's search that have a dev accuracy, without the supervised baseline; and the scope.

    Raises:
        NothingToDraw: there are none.
        ValueError: the rows are of several scopes and none was named.
    """
    rows = search_rows(trials)
    rows = rows[rows[METRIC].notna() & rows.status.isin([FINISHED, PRUNED]) & (rows.role != SUPERVISED)]
    scopes = list(dict.fromkeys(rows.scope))
    if scope is None and len(scopes) > 1:
        raise ValueError(
            f"scope: the trials are of {len(scopes)} scopes, expected one of them; give scope='{scopes[0]}'"
        )
    scope = scope if scope is not None else (scopes[0] if scopes else "")
    rows = rows[rows.scope == scope]
    if rows.empty or parameter_columns(rows).empty:
        raise NothingToDraw(
            f"no search trial{f' of {scope}' if scope else ''} with parameters and a dev accuracy; run "
            "studies/scope_sweep.py, or give a scope that was searched"
        )
    return rows, scope


@styled
def draw_slices(trials: pd.DataFrame, scope: str | None = None) -> Figure:
    """Dev accuracy against each parameter of one scope's search, a panel a parameter.

    Args:
        trials: rows of ``trials``.
        scope: which search; None where the rows are of one.

    Returns:
        A figure of page width; trials that were pruned are crosses at their last dev accuracy.

    Raises:
        NothingToDraw: the scope has no search trial with parameters.
        ValueError: several scopes and none named.
    """
    rows, scope = searched(trials, scope)
    columns = parameter_columns(rows)
    across = min(PANELS_A_ROW, columns.shape[1])
    down = math.ceil(columns.shape[1] / across)
    figure = new_figure(PAGE_IN, 1.75 * down + 0.2)
    axes = figure.subplots(down, across, sharey=True, squeeze=False)
    for axis, key in zip(axes.flat, columns, strict=False):
        _panel(axis, columns[key], rows)
        axis.set_xlabel(fitted(figure, parameter_sign(str(key)), 2.0, 8))
    for axis in axes.flat[columns.shape[1] :]:
        axis.set_visible(False)
    figure.suptitle(f"search on {short_scope(scope)}", fontsize=8)
    footer(
        figure,
        [
            Line2D([], [], ls="", marker="o", color=BEST, label="finished trial"),
            Line2D([], [], ls="", marker="x", color=OTHER, label="stopped early, at its last epoch"),
            Line2D([], [], ls="", marker="D", color=PAPER, label="paper's default SeFAR"),
            Line2D([], [], color=GREY, lw=1, label="mean of finished trials with that value"),
        ],
        ylabel="dev top-1 of the student (%)",
    )
    return figure


def _panel(axis: Axes, column: pd.Series, rows: pd.DataFrame) -> None:
    known = column.notna()
    column, rows = column[known], rows[known]
    numeric = is_numeric(column)
    choices = sorted(column.unique()) if numeric else list(dict.fromkeys(column.astype(str)))
    if numeric:
        x = column.astype(float)
        if is_logarithmic(column):
            logarithmic(axis)
        elif len(choices) <= 5 and _apart([float(choice) for choice in choices]):
            axis.set_xticks(choices, [f"{choice:.3g}" for choice in choices])
            axis.margins(x=0.12)
        else:
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=bool((x % 1 == 0).all())))
    else:
        x = column.astype(str).map({choice: number for number, choice in enumerate(choices)}).astype(float)
        long = max(len(choice) for choice in choices) > 8 or len(choices) > 3
        names = [choice if len(choice) < 19 else choice[:17] + "…" for choice in choices]
        axis.set_xticks(range(len(choices)), names, rotation=90 if long else 0, fontsize=SMALL_PT)
        axis.set_xlim(-0.5, len(choices) - 0.5)
    finished = rows.status == FINISHED
    if 2 * x[finished].nunique() <= finished.sum():  # else most means would be those of single trials
        mean = rows[METRIC][finished].groupby(x[finished]).mean()
        if numeric and len(mean) > 1:
            axis.plot(mean.index, mean, color=GREY, lw=1, zorder=1)
        elif not numeric:
            axis.hlines(mean, np.asarray(mean.index) - 0.3, np.asarray(mean.index) + 0.3, color=GREY, lw=1, zorder=1)
    looks: tuple[tuple[pd.Series, dict[str, Any]], ...] = (
        (~finished, {"marker": "x", "color": OTHER, "ms": 4.5}),
        (finished & (rows.role != DEFAULT), {"marker": "o", "color": BEST, "ms": 4, "alpha": 0.8}),
        (finished & (rows.role == DEFAULT), {"marker": "D", "color": PAPER, "ms": 5, "zorder": 4}),
    )
    for chosen, look in looks:
        axis.plot(x[chosen], rows[METRIC][chosen], ls="", **look)
    tidy(axis)


def _apart(values: list[float]) -> bool:
    """Whether rising values are far enough from each other to be all of an axis's ticks."""
    return all(b - a >= 0.15 * (values[-1] - values[0]) for a, b in itertools.pairwise(values))
