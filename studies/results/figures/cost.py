"""Cost: seconds of training against accuracy, with the trials that no cheaper one beats."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from studies.results.figures.footer import footer
from studies.results.figures.panels import ordered_scopes, scope_panels
from studies.results.figures.style import (
    BEST,
    GREY,
    NAMED_LOOKS,
    Look,
    NothingToDraw,
    logarithmic,
    styled,
    tidy,
)
from studies.results.schema import METRIC

COSTS = {"seconds": "training time of the trial (s)", "accelerator_seconds": "accelerator time of the trial (s)"}
REST = Look(BEST, "^")


def pareto_front(cost_N: np.ndarray, accuracy_N: np.ndarray) -> np.ndarray:
    """Numbers of the points that no other beats: none is as cheap and better, nor cheaper and as good.

    Returns:
        Indices by growing cost; of equal points the first.
    """
    order = np.lexsort((-accuracy_N, cost_N))
    kept: list[int] = []
    for number in order:
        if not kept or accuracy_N[number] > accuracy_N[kept[-1]]:
            kept.append(int(number))
    return np.asarray(kept, dtype=int)


@styled
def draw_cost(scores: pd.DataFrame, *, value: str = METRIC, cost: str = "seconds") -> Figure:
    """Cost of each finished trial against its accuracy, a panel a scope (over its label splits).

    Args:
        scores: of `studies.results.scores.tidy_scores`.
        value: column of the accuracy in percent.
        cost: ``seconds`` or ``accelerator_seconds``.

    Returns:
        A figure of column width for one scope, else of page width; the front is a line.

    Raises:
        NothingToDraw: no finished trial has both.
    """
    rows = scores[scores[value].notna() & scores[cost].notna() & (scores[cost] > 0)] if len(scores) else scores
    if rows.empty:
        raise NothingToDraw(
            f"no finished trial with '{value}' and '{cost}' above 0; wait for a trial to finish"
            + ("; accelerator_seconds is 0 on CPUs: give cost='seconds'" if cost != "seconds" else "")
        )
    scopes = ordered_scopes(rows)
    figure, axes = scope_panels(scopes)
    for scope, axis in axes.items():
        _panel(axis, rows[rows.base_scope == scope], value, cost)
    part, _, network = value.removesuffix("_top1").partition("_")
    handles = [
        Line2D([], [], ls="", marker=look.marker, color=look.colour, label=name)
        for name, look in {**NAMED_LOOKS, "other configuration": REST}.items()
        if (rows.method == name).any() or look is REST
    ]
    handles.append(
        Line2D([], [], color=GREY, lw=1, drawstyle="steps-post", label="front (filled): no cheaper one is as good")
    )
    footer(figure, handles, xlabel=COSTS[cost], ylabel=f"{part} top-1 of the {network} (%)")
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, value: str, cost: str) -> None:
    x, y = rows[cost].to_numpy(dtype=float), rows[value].to_numpy(dtype=float)
    if x.max() / x.min() >= 8:
        logarithmic(axis)
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5))
    front = pareto_front(x, y)
    on_front = np.isin(np.arange(len(x)), front)
    for method in [*(m for m in dict.fromkeys(rows.method) if m not in NAMED_LOOKS), *NAMED_LOOKS]:
        look = NAMED_LOOKS.get(method, REST)
        for chosen, face in ((on_front, look.colour), (~on_front, "white")):
            mask = (rows.method == method).to_numpy() & chosen
            axis.plot(x[mask], y[mask], ls="", marker=look.marker, color=look.colour, mfc=face, mew=1, ms=4.2)
    axis.plot(x[front], y[front], color=GREY, lw=1, drawstyle="steps-post", zorder=1)
    axis.margins(0.08)
    tidy(axis, grid="both")
