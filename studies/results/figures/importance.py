"""Importance: how much of the differences between a search's trials each parameter explains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from studies.results.figures.footer import footer
from studies.results.figures.parameter_columns import SIGNS, parameter_sign
from studies.results.figures.style import (
    BLUE,
    COLUMN_IN,
    ORANGE,
    PAGE_IN,
    SMALL_PT,
    VERMILION,
    NothingToDraw,
    fitted,
    new_figure,
    styled,
    tidy,
    wrapped,
)
from studies.results.leaderboard import short_scope
from studies.results.stats.importance import Importance

PANELS_A_ROW = 2
BAR_IN = 0.3  # of a parameter


@styled
def draw_importance(importances: Mapping[str, Importance]) -> Figure:
    """Two bars a parameter, fANOVA's and PED-ANOVA's, a panel a scope, with what there is to warn of above.

    Args:
        importances: of `studies.results.stats.importance.importance`, by scope.

    Returns:
        A figure of column width for one scope, else of page width.

    Raises:
        NothingToDraw: no scope has an importance.
    """
    drawn = {scope: found for scope, found in importances.items() if len(found.table)}
    if not drawn:
        reasons = "; ".join(dict.fromkeys(found.warning for found in importances.values() if found.warning))
        raise NothingToDraw(
            f"no importance of parameters: {reasons or 'no search has two finished trials'}; extend the search with "
            "--extend"
        )
    across = min(PANELS_A_ROW, len(drawn))
    rows = [list(drawn.items())[k : k + across] for k in range(0, len(drawn), across)]
    width = PAGE_IN if len(drawn) > 1 else COLUMN_IN
    figure = new_figure(width, 1)
    warnings = {k: wrapped(figure, _plain(f.warning), width / across - 1.05, lines=8) for k, f in drawn.items()}
    heights = [
        max(BAR_IN * len(found.table) + 0.12 * (warnings[scope].count("\n") + 1) + 0.45 for scope, found in row)
        for row in rows
    ]
    figure.set_figheight(sum(heights))
    axes = figure.subplots(len(rows), across, squeeze=False, sharex=True, height_ratios=heights)
    for line, row in zip(axes, rows, strict=True):
        for axis, (scope, found) in zip(line, row, strict=False):
            _panel(axis, found)
            axis.set_title(fitted(figure, short_scope(scope), width / across - 0.4, 8), loc="left", x=0)
            if warnings[scope]:
                _warn(axis, warnings[scope])
        for axis in line[len(row) :]:
            axis.set_visible(False)
    none = [f"{short_scope(s)}: {_plain(f.warning)}." for s, f in importances.items() if s not in drawn]
    footer(
        figure,
        [
            Patch(facecolor=BLUE, label="fANOVA: over the whole space"),
            Patch(facecolor=ORANGE, hatch="////", edgecolor="white", label="PED-ANOVA: among the best trials"),
        ],
        xlabel="importance (share of what explains the dev top-1; –: not assessed)",
        note=" ".join(none),
    )
    return figure


def _plain(warning: str | None) -> str:
    """A warning in which parameters have the names of the axis."""
    text = warning or ""
    for key, sign in SIGNS.items():
        text = text.replace(key, sign)
    return text.removesuffix(".") if text.count(". ") == 0 else text


def _panel(axis: Axes, found: Importance) -> None:
    table = found.table.sort_values("fanova", ascending=False, na_position="last")
    y = np.arange(len(table))
    axis.barh(y - 0.19, table.fanova.fillna(0), 0.34, color=BLUE)
    axis.barh(y + 0.19, table.ped_anova.fillna(0), 0.34, color=ORANGE, hatch="////", edgecolor="white", lw=0)
    for place, known in ((-0.19, table.fanova.notna()), (0.19, table.ped_anova.notna())):
        for row in y[~known]:
            axis.annotate("–", (0, row + place), (2, 0), textcoords="offset points", va="center", fontsize=SMALL_PT)
    names = [fitted(axis.figure, parameter_sign(str(key)), 1.0) for key in table.parameter]  # type: ignore[arg-type]
    axis.set_yticks(y, names)
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.tick_params(labelbottom=True)
    tidy(axis, grid="x")
    axis.tick_params(axis="y", length=0)


def _warn(axis: Axes, text: str) -> None:
    """The warning under the panel's axis, where it hides no bar."""
    axis.set_xlabel(text, fontsize=SMALL_PT, color=VERMILION, loc="left")
