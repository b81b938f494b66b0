"""Learning curves: dev accuracy against epoch, with the trials that were stopped early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sefar.files import write_whole
from studies.results.figures.footer import footer
from studies.results.figures.panels import scope_panels
from studies.results.figures.style import (
    BASELINE,
    BEST,
    OTHER,
    PAPER,
    SMALL_PT,
    NothingToDraw,
    rendered,
    styled,
    tidy,
)
from studies.results.leaderboard import ranked, search_rows
from studies.results.schema import DEFAULT, FINISHED, METRIC, PRUNED, SUPERVISED


def learning_curves(trials: pd.DataFrame, epochs: pd.DataFrame, scopes: list[str], path: Path) -> Path:
    """The figure of `draw_learning_curves`, saved as PNG.

    Args:
        trials: rows of ``trials``.
        epochs: rows of ``epochs``.
        scopes: the panels; one without a search trial has none.
        path: where to; its folder is made.

    Raises:
        OSError: the picture cannot be written.
        NothingToDraw: no scope has a search trial.
    """
    picture = rendered(draw_learning_curves(trials, epochs, scopes), "png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, picture)
    return path


@styled
def draw_learning_curves(trials: pd.DataFrame, epochs: pd.DataFrame, scopes: Sequence[str] | None = None) -> Figure:
    """Dev accuracy against epoch, a line a search trial, a panel a scope; pruned trials end in a cross.

    Args:
        trials: rows of ``trials``.
        epochs: rows of ``epochs``.
        scopes: the panels in order; None: every scope. One without a search trial has none.

    Returns:
        A figure of column width for one scope, else of page width.

    Raises:
        NothingToDraw: no scope has a search trial.
    """
    trials = search_rows(trials)
    scopes = list(dict.fromkeys(trials.scope)) if scopes is None else list(scopes)
    scopes = [scope for scope in scopes if (trials.scope == scope).any()]
    if not scopes:
        raise NothingToDraw("no search trial to draw: none has started yet; run studies/scope_sweep.py")
    figure, axes = scope_panels(scopes, sharey=True)
    ends = [_panel(axes[scope], trials[trials.scope == scope], epochs[epochs.scope == scope]) for scope in scopes]
    for scope, labels in zip(scopes, ends, strict=True):
        _label_ends(axes[scope], labels)  # now that every panel has widened the axis they share
    footer(
        figure,
        [
            Line2D([], [], color=BEST, lw=2, marker="o", ms=3.5, label="best finished trial"),
            Line2D([], [], color=PAPER, lw=1.7, ls="--", label="paper's default SeFAR"),
            Line2D([], [], color=BASELINE, lw=1.7, ls=":", label="supervised baseline"),
            Line2D([], [], color=OTHER, lw=1, label="other trial"),
            Line2D([], [], color=OTHER, lw=0.8, alpha=0.8, marker="x", ms=4, label="stopped early (ASHA)"),
        ],
        xlabel="epoch (finished)",
        ylabel="dev top-1 of the student (%)",
    )
    return figure


def _panel(axis: Axes, trials: pd.DataFrame, epochs: pd.DataFrame) -> list[tuple[float, str, str]]:
    """Draw a scope's curves; returns final value, its text and colour of the curves that are named."""
    order = ranked(trials)
    finished = order[order.status == FINISHED]
    best = finished.trial_id.iloc[0] if len(finished) else None
    labels: list[tuple[float, str, str]] = []
    colours = {DEFAULT: PAPER, SUPERVISED: BASELINE}
    last_epoch = 1
    for row in order.iloc[::-1].itertuples():
        curve = epochs[(epochs.trial_id == row.trial_id) & epochs[METRIC].notna()].sort_values("epoch")
        if curve.empty:
            continue
        x, y = curve.epoch.to_numpy(), curve[METRIC].to_numpy()
        last_epoch = max(last_epoch, int(x[-1]))
        if row.role == SUPERVISED:
            axis.plot(x, y, color=BASELINE, lw=1.7, ls=":", zorder=4)
        elif row.role == DEFAULT:
            axis.plot(x, y, color=PAPER, lw=1.7, ls="--", zorder=5)
        elif row.status == PRUNED:
            axis.plot(x, y, color=OTHER, lw=0.8, alpha=0.6, zorder=1)
            axis.plot(x[-1], y[-1], color=OTHER, marker="x", ms=4, alpha=0.8, zorder=1)
        else:
            axis.plot(x, y, color=OTHER, lw=1, zorder=2)
        if row.trial_id == best:
            axis.plot(x, y, color=BEST, lw=2, marker="o", ms=3.5, zorder=3, alpha=0.9)
        if row.status == FINISHED and (row.trial_id == best or row.role in (DEFAULT, SUPERVISED)):
            colour = BEST if row.trial_id == best else colours[str(row.role)]
            labels.append((float(y[-1]), f"{y[-1]:.1f}", colour))
    axis.set_xlim(0.8, max(float(trials.epochs_planned.max()), last_epoch) + 0.2)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    tidy(axis)
    return labels


def _label_ends(axis: Axes, labels: list[tuple[float, str, str]]) -> None:
    """Write the final values beside the curves' ends, moved apart where they would touch."""
    low, high = axis.get_ylim()
    gap, floor = 0.075 * (high - low), -math.inf
    for value, text, colour in sorted(labels):
        floor = max(value, floor + gap)
        axis.annotate(
            text,
            (1.0, floor),
            xycoords=axis.get_yaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL_PT,
            color=colour,
            annotation_clip=False,
        )
