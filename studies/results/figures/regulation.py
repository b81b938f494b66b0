"""Regulation: when pseudo-labels are right, what weight η they get, what leaving some out buys."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sefar.ssl.weighting import WeightingConfig, build_weighting
from sefar.training.regulation import BINS, SPREAD_EDGES
from studies.results.figures.footer import footer
from studies.results.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    PAGE_IN,
    PAPER,
    SEQUENTIAL,
    SMALL_PT,
    NothingToDraw,
    new_figure,
    styled,
    thinned,
    tidy,
)

EDGES = ["confidence_low", "confidence_high", "spread_low", "spread_high"]
COUNTS = ["clips", "known_clips", "right_clips", "weight_sum"]


def regulation_cells(regulation: pd.DataFrame) -> pd.DataFrame:
    """Cells of confidence × spread over each trial's last recorded epoch, trials added up.

    Args:
        regulation: rows of ``regulation``.

    Returns:
        One row a cell that holds clips: bin edges, `COUNTS`, ``accuracy`` of the pseudo-labels in percent (NaN where
        no label is known) and ``weight``, the mean that training gave.

    Raises:
        NothingToDraw: no row, or no clip of known label.
    """
    if regulation.empty:
        raise NothingToDraw(
            "no rows of 'regulation': the trials had no unlabelled clips, or stopped in the warm-up; look at the rows "
            "of a trial with role default or search"
        )
    last = regulation[regulation.epoch == regulation.groupby("trial_id").epoch.transform("max")]
    cells = last.groupby(EDGES, as_index=False)[COUNTS].sum()
    cells = cells[cells.clips > 0].reset_index(drop=True)
    if not cells.known_clips.sum():
        raise NothingToDraw(
            "no pseudo-label can be judged: the unlabelled clips have no hidden label; use a scope that is cut from a "
            "labelled set, such as synthgym/core@1pc#0"
        )
    accuracy = 100 * cells.right_clips / cells.known_clips.where(cells.known_clips > 0)
    return cells.assign(accuracy=accuracy, weight=cells.weight_sum / cells.clips)


@styled
def draw_regulation(regulation: pd.DataFrame, *, alpha: float = 1.0, kappa: float = 20.0) -> Figure:
    """Three panels: accuracy of pseudo-labels by confidence and spread; the weight η there; accuracy against coverage.

    Args:
        regulation: rows of ``regulation`` of one trial or of several that are alike; the last epoch of each counts.
        alpha: slope of the weight's confidence factor (METHOD.md §5.3).
        kappa: slope of its spread factor.

    Returns:
        A figure of page width.

    Raises:
        NothingToDraw: no rows, or no hidden labels to judge by.
    """
    cells = regulation_cells(regulation)
    figure = new_figure(PAGE_IN, 5.6)
    places = figure.add_gridspec(2, 2, height_ratios=(1.25, 1))
    _accuracy(figure, figure.add_subplot(places[0, 0]), cells)
    _surface(figure, figure.add_subplot(places[0, 1]), cells, alpha, kappa)
    _coverage(figure.add_subplot(places[1, :]), cells, alpha, kappa)
    footer(
        figure,
        [
            Line2D([], [], color=BLUE, marker="s", ls="--", label="kept by confidence (a fixed threshold τ)"),
            Line2D([], [], color=PAPER, marker=".", label="kept by η (at the cells' middles)"),
            Line2D([], [], color=GREEN, ls="-.", label="every clip, weighted as in training"),
        ],
    )
    return figure


def adaptive_weight(
    confidence_N: np.ndarray, spread_N: np.ndarray, alpha: float = 1.0, kappa: float = 20.0
) -> np.ndarray:
    """η of clips, by the code that trains (`sefar.ssl.weighting.Adaptive`)."""
    scheme = build_weighting(WeightingConfig(kind="adaptive", alpha=alpha, kappa=kappa), 1)
    confidence, spread = (torch.from_numpy(np.asarray(a, dtype=np.float64)) for a in (confidence_N, spread_N))
    return np.asarray(scheme.weights(confidence, spread, torch.zeros(len(confidence), dtype=torch.long)))


def _columns_rows(cells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Number of each cell's confidence bin and of its spread bin; bins are drawn alike however wide."""
    column = (cells.confidence_low * BINS).round().astype(int).to_numpy()
    return column, np.searchsorted(np.asarray(SPREAD_EDGES), cells.spread_low.to_numpy() + 1e-12) - 1


def _frame(axis: Axes, title: str) -> None:
    axis.set_xticks(range(0, BINS + 1, 2), [f"{edge / BINS:g}" for edge in range(0, BINS + 1, 2)])
    axis.set_yticks(range(len(SPREAD_EDGES)), [f"{edge:g}" for edge in SPREAD_EDGES])
    axis.set_xlim(0, BINS)
    axis.set_ylim(0, len(SPREAD_EDGES) - 1)
    axis.set_xlabel("confidence c (probability)")
    axis.set_ylabel("spread s over the passes (probability)")
    axis.set_title(title, loc="left")
    tidy(axis, grid=None)


def _short_count(count: float) -> str:
    return f"{count:.0f}" if count < 1000 else (f"{count / 1000:.1f}k" if count < 9950 else f"{count / 1000:.0f}k")


def _accuracy(figure: Figure, axis: Axes, cells: pd.DataFrame) -> None:
    grid = np.full((len(SPREAD_EDGES) - 1, BINS), np.nan)
    column, row = _columns_rows(cells)
    grid[row, column] = cells.accuracy
    mesh = axis.pcolormesh(np.ma.masked_invalid(grid), cmap=SEQUENTIAL, vmin=0, vmax=100)
    for x, y, clips, accuracy in zip(column, row, cells.clips, cells.accuracy, strict=True):
        dark = accuracy < 55  # NaN: no label known, the cell is white
        axis.text(
            x + 0.5,
            y + 0.5,
            _short_count(clips),
            ha="center",
            va="center",
            fontsize=SMALL_PT,
            color="white" if dark else BLACK,
        )
    _frame(axis, "a  accuracy (colour) and clips (number)")
    bar = figure.colorbar(mesh, ax=axis, location="top", aspect=30, pad=0.02)
    bar.set_label("right pseudo-labels (%)", fontsize=SMALL_PT)
    bar.ax.tick_params(labelsize=SMALL_PT, length=2)


def _surface(figure: Figure, axis: Axes, cells: pd.DataFrame, alpha: float, kappa: float) -> None:
    edges = np.asarray(SPREAD_EDGES)
    across, up = np.meshgrid(np.linspace(0, BINS, 101), np.linspace(0, len(edges) - 1, 101))
    spread = np.interp(up.ravel(), range(len(edges)), edges)
    weight = adaptive_weight(across.ravel() / BINS, spread, alpha, kappa).reshape(across.shape)
    mesh = axis.contourf(across, up, weight, levels=np.linspace(0, 1, 11), cmap=SEQUENTIAL)
    column, row = _columns_rows(cells)
    area = 4 + 130 * cells.clips / cells.clips.max()
    axis.scatter(column + 0.5, row + 0.5, s=area, facecolor=(1, 1, 1, 0.55), edgecolor=BLACK, lw=0.6)
    _frame(axis, "b  weight η; discs: share of clips")
    bar = figure.colorbar(mesh, ax=axis, location="top", aspect=30, pad=0.02, ticks=np.linspace(0, 1, 6))
    bar.set_label(f"η at α = {alpha:g}, κ = {kappa:g}", fontsize=SMALL_PT)
    bar.ax.tick_params(labelsize=SMALL_PT, length=2)


def coverage_curve(cells: pd.DataFrame, score: np.ndarray) -> pd.DataFrame:
    """Accuracy of the clips that are kept when those of least score are left out, cell by cell.

    Args:
        cells: of `regulation_cells`.
        score: of each cell; cells of equal score are kept or left out together.

    Returns:
        ``score`` (least that is kept), ``coverage`` and ``accuracy`` in percent of the clips of known label.
    """
    table = pd.DataFrame({"score": np.round(score, 9), "known": cells.known_clips, "right": cells.right_clips})
    kept = table[table.known > 0].groupby("score").sum().iloc[::-1].cumsum()
    return pd.DataFrame(
        {
            "score": kept.index,
            "coverage": 100 * kept.known.to_numpy() / kept.known.iloc[-1],
            "accuracy": 100 * kept.right.to_numpy() / kept.known.to_numpy(),
        }
    )


def _coverage(axis: Axes, cells: pd.DataFrame, alpha: float, kappa: float) -> None:
    confidence, spread = ((cells[f"{n}_low"] + cells[f"{n}_high"]).to_numpy() / 2 for n in ("confidence", "spread"))
    by_confidence = coverage_curve(cells, cells.confidence_low.to_numpy())
    by_weight = coverage_curve(cells, adaptive_weight(confidence, spread, alpha, kappa))
    axis.plot(by_confidence.coverage, by_confidence.accuracy, color=BLUE, marker="s", ls="--", zorder=3)
    axis.plot(by_weight.coverage, by_weight.accuracy, color=PAPER, marker=".", zorder=2)
    for number in thinned(by_confidence.coverage.tolist(), 7.0):
        point = by_confidence.iloc[number]
        text, place = f"τ {point.score:g}", (point.coverage, point.accuracy)
        axis.annotate(text, place, (3, 5), textcoords="offset points", fontsize=SMALL_PT, color=BLUE)
    known = cells[cells.known_clips > 0]
    weighted = float((known.weight_sum * known.accuracy).sum() / max(known.weight_sum.sum(), 1e-12))
    axis.axhline(weighted, color=GREEN, ls="-.", lw=1.1)
    axis.set_xlabel("coverage: pseudo-labels kept (% of clips)")
    axis.set_ylabel("right among those kept (%)")
    axis.set_title("c  what leaving out the unsure buys", loc="left")
    axis.set_xlim(0, 106)
    axis.margins(y=0.12)
    tidy(axis)
