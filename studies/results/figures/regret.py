"""Simple regret: how far the best trial so far is from the best of all, against what was spent."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from studies.results.figures.footer import footer
from studies.results.figures.style import (
    PAGE_IN,
    NothingToDraw,
    fitted,
    looks,
    new_figure,
    styled,
    tidy,
)
from studies.results.leaderboard import short_scope

HOUR, MINUTE = 3600.0, 60.0


@styled
def draw_regret(regret: pd.DataFrame) -> Figure:
    """Regret against trials and against cost, a step line a scope; where it is flat, the budget bought nothing.

    Args:
        regret: of `studies.results.stats.regret.simple_regret`: scope, order, cost_seconds, best_so_far, regret.

    Returns:
        A figure of page width.

    Raises:
        NothingToDraw: no trial of a search.
    """
    rows = regret[regret.regret.notna()] if len(regret) else regret
    if rows.empty:
        raise NothingToDraw("no finished search trial: regret needs a search; run studies/scope_sweep.py")
    scopes = list(dict.fromkeys(rows.scope))
    longest = float(rows.cost_seconds.max())
    unit, name = (HOUR, "h") if longest > 2 * HOUR else ((MINUTE, "min") if longest > 3 * MINUTE else (1.0, "s"))
    figure = new_figure(PAGE_IN, 2.3)
    by_order, by_cost = figure.subplots(1, 2, sharey=True)
    handles = []
    for scope, look in looks(scopes).items():
        line = rows[rows.scope == scope].sort_values("order")
        better = (line.regret.diff() != 0).to_numpy().nonzero()[0].tolist()  # a marker where the best changed
        drawn = {"color": look.colour, "ls": look.line, "drawstyle": "steps-post"}
        drawn |= {"marker": look.marker, "ms": 3.5, "markevery": better}
        by_order.plot(line.order, line.regret, **drawn)
        by_cost.plot(line.cost_seconds / unit, line.regret, **drawn)
        label = fitted(figure, short_scope(str(scope)), 2.8)
        handles.append(Line2D([], [], label=label, color=look.colour, ls=look.line, marker=look.marker, ms=3))
    by_order.set_xlabel("trials that ended (number)")
    by_order.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    by_cost.set_xlabel(f"time of those trials ({name})")
    by_order.set_ylabel("regret: best of all − best so far\n(points of dev top-1)")
    for axis in (by_order, by_cost):
        tidy(axis)
        axis.set_ylim(bottom=min(-0.02 * rows.regret.max(), -0.02))
    footer(figure, handles)
    return figure
