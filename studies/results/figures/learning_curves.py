"""Pictures of a study, one function each."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from studies.results.leaderboard import ranked, search_rows, short_scope
from studies.results.schema import DEFAULT, FINISHED, METRIC, PRUNED, SUPERVISED

# Okabe and Ito's colours, told apart by colour-blind readers; the three that matter also differ in line style
BEST, PAPER, BASELINE, OTHER = "#0072B2", "#D55E00", "#000000", "#9A9A9A"


def learning_curves(trials: pd.DataFrame, epochs: pd.DataFrame, scopes: list[str], path: Path) -> Path:
    """Dev accuracy against epoch, a line a search trial, a panel a scope; saved as PNG.

    Args:
        trials: rows of ``trials``.
        epochs: rows of ``epochs``.
        scopes: the panels; one without a search trial has none.
        path: where to.

    Raises:
        OSError: the picture cannot be written.
        ValueError: no scope has a search trial.
    """
    trials = search_rows(trials)
    scopes = [scope for scope in scopes if (trials.scope == scope).any()]
    if not scopes:
        raise ValueError("no search trial to draw: none has started yet")
    columns = min(len(scopes), 3)
    rows = math.ceil(len(scopes) / columns)
    # not through pyplot: its backend belongs to the caller, who may be a notebook
    figure = Figure(figsize=(0.6 + 4.4 * columns, 0.9 + 3.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis, scope in zip(axes.flat, scopes, strict=False):
        _panel(axis, trials[trials.scope == scope], epochs[epochs.scope == scope], scope)
    for axis in axes.flat[len(scopes) :]:
        axis.set_visible(False)
    for row in axes:
        row[0].set_ylabel("dev top-1 of the student (%)")
    handles = [
        Line2D([], [], color=BEST, lw=2.4, marker="o", ms=4, label="best finished trial"),
        Line2D([], [], color=PAPER, lw=2, ls="--", label="paper's default SeFAR"),
        Line2D([], [], color=BASELINE, lw=2, ls=":", label="supervised baseline"),
        Line2D([], [], color=OTHER, lw=1.2, label="other trial"),
        Line2D([], [], color=OTHER, lw=1, alpha=0.6, marker="x", ms=5, label="stopped early (ASHA)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, 1 + 2 * columns), frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")  # so that a full disk leaves an older picture whole
    try:
        figure.savefig(part, format="png", dpi=150)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _panel(axis: Axes, trials: pd.DataFrame, epochs: pd.DataFrame, scope: str) -> None:
    order = ranked(trials)
    finished = order[order.status == FINISHED]
    best = finished.trial_id.iloc[0] if len(finished) else None
    labels: list[tuple[float, str, str]] = []
    colours = {DEFAULT: PAPER, SUPERVISED: BASELINE}
    for row in order.iloc[::-1].itertuples():
        curve = epochs[epochs.trial_id == row.trial_id].sort_values("epoch")
        if curve.empty:
            continue
        x, y = curve.epoch.to_numpy(), curve[METRIC].to_numpy()
        if row.role == SUPERVISED:
            axis.plot(x, y, color=BASELINE, lw=2, ls=":", zorder=4)
        elif row.role == DEFAULT:
            axis.plot(x, y, color=PAPER, lw=2, ls="--", zorder=5)
        elif row.status == PRUNED:
            axis.plot(x, y, color=OTHER, lw=1, alpha=0.6, zorder=1)
            axis.plot(x[-1], y[-1], color=OTHER, marker="x", ms=5, alpha=0.8, zorder=1)
        else:
            axis.plot(x, y, color=OTHER, lw=1.2, zorder=2)
        if row.trial_id == best:
            axis.plot(x, y, color=BEST, lw=2.4, marker="o", ms=4, zorder=3, alpha=0.9)
        if row.status == FINISHED and (row.trial_id == best or row.role in (DEFAULT, SUPERVISED)):
            colour = BEST if row.trial_id == best else colours[str(row.role)]
            labels.append((float(y[-1]), f"{y[-1]:.1f}", colour))
    _label_ends(axis, labels, int(trials.epochs_planned.max()))
    axis.set_title(short_scope(scope), fontsize=10)
    axis.set_xlabel("epoch (finished)")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(axis="y", color="#DDDDDD", lw=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _label_ends(axis: Axes, labels: list[tuple[float, str, str]], last_epoch: int) -> None:
    """Write the final values beside the curves' ends, moved apart where they would touch."""
    low, high = axis.get_ylim()
    gap, floor = 0.05 * (high - low), -math.inf
    for value, text, colour in sorted(labels):
        floor = max(value, floor + gap)
        axis.annotate(
            text,
            (last_epoch, floor),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=colour,
            annotation_clip=False,
        )
