"""Parallel coordinates: a search's trials as lines through their parameters to their dev accuracy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.results.figures.footer import footer
from studies.results.figures.parameter_columns import is_logarithmic, is_numeric, parameter_columns, parameter_sign
from studies.results.figures.slices import searched
from studies.results.figures.style import (
    BLACK,
    FAINT,
    LIGHT,
    PAGE_IN,
    SEQUENTIAL,
    SMALL_PT,
    NothingToDraw,
    fitted,
    new_figure,
    styled,
    text_width_in,
    wrapped,
)
from studies.results.leaderboard import short_scope
from studies.results.schema import DEFAULT, FINISHED, METRIC

FIRST_IN = 0.95  # most room for the words of the first axis, inches
ABSENT_Y = -0.13  # where a trial passes an axis whose parameter it does not have
MOST_TICKS = 7
BEST_DARK = f"{SEQUENTIAL}_r"  # the best trials stand out from white


@styled
def draw_parallel_coordinates(trials: pd.DataFrame, scope: str | None = None, *, height_in: float = 3.4) -> Figure:
    """One scope's search: an axis a parameter, the last one dev accuracy; a line a trial, its colour the accuracy.

    A conditional parameter that a trial does not have is passed below the axis, at the sign "–".

    Args:
        trials: rows of ``trials``.
        scope: which search; None where the rows are of one.
        height_in: of the figure, inches.

    Returns:
        A figure of page width.

    Raises:
        NothingToDraw: the scope has no search trial with parameters, or none that has finished.
        ValueError: several scopes and none named.
    """
    rows, scope = searched(trials, scope)
    if not (rows.status == FINISHED).any():
        raise NothingToDraw(f"no trial of {scope} has finished: wait for one, or continue the study with --resume")
    columns = parameter_columns(rows)
    figure = new_figure(PAGE_IN, height_in)
    axis = figure.subplots()
    words = columns.iloc[:, 0].dropna().map(lambda v: v if isinstance(v, str) else f"{v:.3g}")
    first = min(max(text_width_in(figure, word) for word in words), FIRST_IN) if len(words) else 0.2
    each = (PAGE_IN - first - 1.3) / columns.shape[1]
    heights = [_coordinate(axis, number, columns[key], each) for number, key in enumerate(columns)]
    accuracy = rows[METRIC].astype(float)
    heights.append(_coordinate(axis, len(heights), accuracy, each))
    finished = accuracy[rows.status == FINISHED]
    least, most = float(finished.min()), float(finished.max())
    norm = Normalize(least, most) if most > least else Normalize(least - 0.5, most + 0.5)
    points = np.stack(heights, 1)
    absent = bool(columns.isna().any(axis=None))
    for number in np.argsort(accuracy.to_numpy()):  # the best on top
        row = rows.iloc[number]
        done = row.status == FINISHED
        colour = colormaps[BEST_DARK](norm(row[METRIC])) if done else LIGHT
        width, style = (1.5, "-") if done else (0.7, ":")
        order = 3 if done else 2
        axis.plot(range(points.shape[1]), points[number], color=colour, lw=width, ls=style, alpha=0.9, zorder=order)
        if row.role == DEFAULT:
            marks: dict[str, Any] = {"marker": "D", "ls": "", "ms": 3.5, "mfc": "white", "color": BLACK, "zorder": 5}
            axis.plot(range(points.shape[1]), points[number], **marks)
    _frame(figure, axis, [*map(str, columns)], each, first, absent=absent)
    bar = figure.colorbar(ScalarMappable(norm, BEST_DARK), ax=axis, pad=0.03, aspect=30)
    bar.set_label("dev top-1 of the student (%)", fontsize=8)
    bar.ax.tick_params(labelsize=SMALL_PT)
    figure.suptitle(f"search on {short_scope(scope)}", fontsize=8)
    best = colormaps[BEST_DARK](1.0)
    footer(
        figure,
        [
            Line2D([], [], color=best, lw=1.5, label="finished trial (colour: dev top-1)"),
            Line2D([], [], color=LIGHT, lw=0.9, ls=":", label="stopped early"),
            Line2D([], [], color=BLACK, ls="", marker="D", ms=3.5, mfc="white", label="paper's default SeFAR"),
        ],
        note="–: the trial does not have this parameter." if absent else "",
    )
    return figure


def _coordinate(axis: Axes, number: int, column: pd.Series, room_in: float) -> np.ndarray:
    """Draw one axis; returns where the trials pass it, 0 at the bottom, 1 at the top."""
    known = column.dropna()
    axis.plot([number, number], [0, 1], color="#444444", lw=0.8, zorder=1)
    if is_numeric(column):
        log = is_logarithmic(column)
        values = column.astype(float).map(math.log) if log else column.astype(float)
        low, high = float(values.min()), float(values.max())
        height = (values - low) / (high - low) if high > low else values * 0 + 0.5
        if known.nunique() <= MOST_TICKS - 2:
            ticks = [
                (float(h), f"{v:.3g}") for v, h in sorted({(float(known[i]), float(height[i])) for i in known.index})
            ]
        else:
            inner = [np.exp(low + t * (high - low)) if log else low + t * (high - low) for t in (0, 0.25, 0.5, 0.75, 1)]
            ticks = list(zip((0, 0.25, 0.5, 0.75, 1), (f"{v:.3g}" for v in inner), strict=True))
    else:
        choices = sorted(known.astype(str).unique())
        places = {c: (n / (len(choices) - 1) if len(choices) > 1 else 0.5) for n, c in enumerate(choices)}
        height = column.astype(object).map(lambda v: places.get(str(v), np.nan)).astype(float)
        ticks = [(y, choice) for choice, y in places.items()]
    for y, text in ticks:
        axis.plot([number - 0.02, number], [y, y], color="#444444", lw=0.8, zorder=1)
        axis.text(
            number - 0.04,
            y,
            fitted(axis.figure, text, 0.82 * room_in if number else FIRST_IN),  # type: ignore[arg-type]
            ha="right",
            va="center",
            fontsize=SMALL_PT,
            zorder=6,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )
    return height.fillna(ABSENT_Y).to_numpy(dtype=float)


def _frame(figure: Figure, axis: Axes, keys: list[str], room_in: float, first_in: float, *, absent: bool) -> None:
    names = [wrapped(figure, parameter_sign(key), 0.95 * room_in, lines=2) for key in keys]
    axis.set_xticks(range(len(keys) + 1), [*names, wrapped(figure, "dev top-1 (%)", 0.95 * room_in)], fontsize=SMALL_PT)
    axis.tick_params(axis="x", length=0, pad=2)
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    if absent:
        axis.axhline(ABSENT_Y, color=FAINT, lw=0.6, zorder=0)
        axis.text(-0.04, ABSENT_Y, "–", ha="right", va="center", fontsize=SMALL_PT)
    axis.set_xlim(-(first_in + 0.08) / room_in, len(keys) + 0.1)
    axis.set_ylim(ABSENT_Y - 0.05 if absent else -0.05, 1.05)
