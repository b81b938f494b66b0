"""Performance profiles: for every accuracy, the share of runs that reach it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.results.figures.footer import footer
from studies.results.figures.style import (
    COLUMN_IN,
    NothingToDraw,
    fitted,
    looks,
    new_figure,
    styled,
    tidy,
)


@styled
def draw_profiles(
    profiles: Mapping[str, pd.DataFrame],
    *,
    xlabel: str = "test top-1 of the student, τ (%)",
    width_in: float = COLUMN_IN,
) -> Figure:
    """A line a method with its interval; the higher line is better, and where lines cross, neither is.

    Args:
        profiles: of `studies.results.stats.profiles.performance_profile`, by method: threshold, share (0 to 1), low and
            high.
        xlabel: what the thresholds are, with unit.
        width_in: of the figure, inches.

    Returns:
        A figure.

    Raises:
        NothingToDraw: no method has a run.
    """
    drawn = {name: table for name, table in profiles.items() if len(table) and table.share.notna().any()}
    if not drawn:
        raise NothingToDraw("no finished run to profile; wait for trials to finish, or choose other scopes")
    figure = new_figure(width_in, 2.4)
    axis = figure.subplots()
    handles = []
    for name, look in looks(drawn).items():
        table = drawn[name].sort_values("threshold")
        axis.plot(table.threshold, 100 * table.share, color=look.colour, ls=look.line)
        axis.fill_between(table.threshold, 100 * table.low, 100 * table.high, color=look.colour, alpha=0.15, lw=0)
        label = fitted(figure, name, width_in - 0.7)
        handles.append(Line2D([], [], color=look.colour, ls=look.line, label=label))
    axis.set_xlabel(xlabel)
    axis.set_ylabel("runs above τ (%)")
    axis.set_ylim(-2, 102)
    tidy(axis)
    footer(figure, handles)
    return figure
