"""A panel a label scope: the grid that several figures share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.results.figures.style import COLUMN_IN, PAGE_IN, TEXT_PT, fitted, new_figure
from studies.results.leaderboard import short_scope
from studies.results.scores import fraction_order

PANELS_A_ROW, PANEL_IN = 3, 2.0
Sharing = bool | Literal["none", "all", "row", "col"]


def scope_panels(
    scopes: Sequence[str], *, sharex: Sharing = False, sharey: Sharing = False
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a titled panel a scope, at most three in a row.

    Args:
        scopes: at least one.
        sharex: as in ``Figure.subplots``.
        sharey: likewise.

    Returns:
        The figure, of column width for one scope, else of page width; and the panel of each scope.
    """
    across = min(PANELS_A_ROW, len(scopes))
    down = math.ceil(len(scopes) / across)
    figure = new_figure(PAGE_IN if len(scopes) > 1 else COLUMN_IN, PANEL_IN * down)
    axes = figure.subplots(down, across, squeeze=False, sharex=sharex, sharey=sharey)
    room_in = figure.get_figwidth() / across - 0.6
    for axis, scope in zip(axes.flat, scopes, strict=False):
        axis.set_title(fitted(figure, short_scope(scope), room_in, TEXT_PT))
    for number, axis in enumerate(axes.flat[len(scopes) :], len(scopes)):
        axis.set_visible(False)
        axes.flat[number - across].tick_params(labelbottom=True)  # the ticks that the hidden panel would have had
    return figure, dict(zip(scopes, axes.flat, strict=False))


def ordered_scopes(scores: pd.DataFrame) -> list[str]:
    """Label scopes without split seed, by subset and then from few labels to many.

    Args:
        scores: of `studies.results.scores.tidy_scores`.
    """
    rows = scores[["base_scope", "subset", "fraction"]].drop_duplicates("base_scope").astype(str)
    order = sorted(rows.itertuples(index=False), key=lambda row: (row.subset, fraction_order(str(row.fraction))))
    return [str(row.base_scope) for row in order]
