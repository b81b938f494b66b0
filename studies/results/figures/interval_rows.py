"""Rows of values with intervals: the layout that leaderboards, forests and comparisons share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.results.figures.style import SMALL_PT, Look, wrapped

ROW_IN, LINE_IN = 0.17, 0.125  # height of a row of one line, and of each further line, inches


@dataclass(frozen=True)
class IntervalRow:
    """One row.

    Attributes:
        label: text at the left.
        value: where the marker stands.
        low: lower end of the interval; NaN: none is drawn.
        high: upper end.
        look: colour and marker.
        filled: an open marker says that the row proves nothing, or is not ours.
        said: text at the right.
        dots: single values behind the marker.
    """

    label: str
    value: float
    low: float
    high: float
    look: Look
    filled: bool = True
    said: str = ""
    dots: Sequence[float] = ()


def broken_labels(figure: Figure, rows: Sequence[IntervalRow], inches: float) -> list[str]:
    """Labels on lines of that width."""
    return [wrapped(figure, row.label, inches) for row in rows]


def heights_in(labels: Sequence[str]) -> list[float]:
    """Height of each row in inches."""
    return [ROW_IN + LINE_IN * label.count("\n") for label in labels]


def draw_rows(axis: Axes, rows: Sequence[IntervalRow], labels: Sequence[str]) -> None:
    """Draw the rows from top to bottom, one unit of y an inch of `heights_in`."""
    edges = np.concatenate([[0.0], np.cumsum(heights_in(labels))])
    middles = (edges[:-1] + edges[1:]) / 2
    for row, y in zip(rows, middles, strict=True):
        colour = row.look.colour
        dots = [dot for dot in row.dots if math.isfinite(dot)]
        axis.plot(dots, [y] * len(dots), ls="", marker="|", ms=8, mew=0.8, color=colour, alpha=0.7, zorder=2)
        if math.isfinite(row.low) and math.isfinite(row.high):
            axis.plot([row.low, row.high], [y, y], color=colour, lw=1.8, solid_capstyle="butt", zorder=3)
        if math.isfinite(row.value):
            face = colour if row.filled else "white"
            axis.plot([row.value], [y], marker=row.look.marker, ms=4.8, color=colour, mfc=face, mew=1.1, zorder=4)
        if row.said:
            axis.annotate(
                row.said,
                (1.0, y),
                xycoords=axis.get_yaxis_transform(),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL_PT,
                annotation_clip=False,
            )
    axis.set_ylim(edges[-1], 0)
    axis.set_yticks(middles, labels, fontsize=SMALL_PT)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.margins(x=0.06)
