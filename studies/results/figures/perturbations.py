"""Perturbations: what each kind is worth against none, the paper's Table 4 beside; and how strong is right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.results.figures.footer import footer
from studies.results.figures.forest import UNKNOWN, difference_row, look_handles
from studies.results.figures.interval_rows import IntervalRow, draw_rows, heights_in
from studies.results.figures.panels import scope_panels
from studies.results.figures.parameter_columns import parameter_columns
from studies.results.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    OTHER,
    PAGE_IN,
    Look,
    NothingToDraw,
    looks,
    new_figure,
    styled,
    tidy,
)
from studies.results.leaderboard import search_rows
from studies.results.published import published
from studies.results.schema import FINISHED, METRIC, PRUNED, SUPERVISED
from studies.results.stats.paired import PairedDifference

NONE, KIND, STRENGTH = "none", "perturb.kind", "perturb.strength"
PAPER_LOOKS = (Look(BLUE, "^"), Look(GREEN, "D"), Look(ORANGE, "v"))


@styled
def draw_perturbations(differences: Mapping[str, PairedDifference], paper: pd.DataFrame | None = None) -> Figure:
    """Left, ours: each kind minus ``none`` over paired runs. Right, the paper's Table 4, as differences to its none.

    Args:
        differences: of each kind against ``none`` (`studies.results.stats.paired.paired_difference`).
        paper: of `studies.results.published.published`, ``none`` among its methods; None: Table 4. Kinds that only it
            has are rows too.

    Returns:
        A figure of page width.

    Raises:
        NothingToDraw: no kind could be paired with ``none``.
    """
    paper = published("perturbations") if paper is None else paper
    theirs_by_kind = paper_by_kind(paper)
    rows = {kind: difference_row(kind, found) for kind, found in differences.items() if kind != NONE}
    if not any(math.isfinite(row.value) for row in rows.values()):
        raise NothingToDraw(
            "no perturbation could be paired with 'none': run studies/ablation.py perturbations, with arm none and "
            "others over the same seeds"
        )
    kinds = [kind for kind in dict.fromkeys([*theirs_by_kind, *rows]) if kind != NONE]
    shown = [
        rows.get(kind) or IntervalRow(kind, math.nan, math.nan, math.nan, UNKNOWN, said="not run") for kind in kinds
    ]
    shown.sort(key=lambda row: -row.value if math.isfinite(row.value) else math.inf)
    figure = new_figure(PAGE_IN, 1)
    labels = [row.label for row in shown]
    figure.set_figheight(sum(heights_in(labels)) + 0.7)
    ours, theirs = figure.subplots(1, 2, sharey=True, sharex=True)  # the paper's points are as long as ours
    draw_rows(ours, shown, labels)
    ours.set_title("ours: mean over paired runs, 95 % interval")
    ours.set_xlabel("top-1 minus that of 'none' (points)")
    handles = _paper(theirs, labels, theirs_by_kind)
    for axis in (ours, theirs):
        axis.axvline(0, color=BLACK, lw=0.8, zorder=1)
        tidy(axis, grid="x")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    footer(figure, [*look_handles(shown, "ours "), *handles])
    return figure


def paper_by_kind(paper: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The paper's top-1 by kind and by data set with its fraction, such as ``Gym99 5 %``."""
    found: dict[str, dict[str, float]] = {}
    for row in paper.itertuples():
        column = f"{row.data_set} {100 * float(str(row.fraction)):g} %"
        found.setdefault(str(row.method), {})[column] = float(str(row.value))
    return found


def _paper(axis: Axes, labels: list[str], by_kind: Mapping[str, Mapping[str, float]]) -> list[Line2D]:
    base = by_kind.get(NONE, {})
    places = dict(zip(labels, axis.get_yticks(), strict=True))
    handles = []
    for number, (column, look) in enumerate(zip(base, PAPER_LOOKS, strict=False)):
        offset = (number - (len(base) - 1) / 2) * 0.042
        found = [(k, v[column] - base[column]) for k, v in by_kind.items() if k in places and column in v]
        marks: dict[str, Any] = {
            "ls": "",
            "marker": look.marker,
            "color": look.colour,
            "mfc": "white",
            "mew": 1.1,
            "ms": 4.5,
        }
        axis.plot([d for _, d in found], [places[k] + offset for k, _ in found], **marks)
        handles.append(Line2D([], [], label=f"paper: {column}", **marks))
    axis.set_title("paper, Table 4: one number each")
    axis.set_xlabel("top-1 minus that of 'none' (points)")
    axis.margins(x=0.08)
    return handles


@styled
def draw_strengths(trials: pd.DataFrame, scopes: Sequence[str] | None = None) -> Figure:
    """Dev accuracy against the strength of the perturbation where a search varied it, a panel a scope, a look a kind.

    Lines join the means of finished trials; pruned trials are crosses at their last dev accuracy.

    Args:
        trials: rows of ``trials``.
        scopes: the panels in order; None: every scope with such trials.

    Returns:
        A figure of column width for one scope, else of page width.

    Raises:
        NothingToDraw: no trial has a strength that was chosen.
    """
    rows = search_rows(trials)
    rows = rows[rows[METRIC].notna() & rows.status.isin([FINISHED, PRUNED]) & (rows.role != SUPERVISED)]
    chosen = parameter_columns(rows) if len(rows) else pd.DataFrame()
    if STRENGTH not in chosen or chosen[STRENGTH].isna().all():
        raise NothingToDraw(
            f"no search has varied {STRENGTH}: run studies/scope_sweep.py, whose space has it for every kind but 'none'"
        )
    rows = rows.assign(kind=chosen[KIND].astype(str) if KIND in chosen else "any kind", strength=chosen[STRENGTH])
    rows = rows[rows.strength.notna()].astype({"strength": float})
    scopes = [s for s in (dict.fromkeys(rows.scope) if scopes is None else scopes) if (rows.scope == s).any()]
    figure, axes = scope_panels(scopes, sharex=True)
    styles = looks(sorted(set(rows.kind)))
    for scope, axis in axes.items():
        _strengths(axis, rows[rows.scope == scope], styles)
    handles = [Line2D([], [], color=k.colour, marker=k.marker, ls=k.line, label=kind) for kind, k in styles.items()]
    handles.append(Line2D([], [], ls="", marker="x", color=OTHER, label="stopped early"))
    footer(
        figure,
        handles,
        xlabel="strength (probability that the perturbation applies)",
        ylabel="dev top-1 of the student (%)",
    )
    return figure


def _strengths(axis: Axes, rows: pd.DataFrame, styles: Mapping[str, Look]) -> None:
    kinds = list(styles)
    for kind, group in rows.groupby("kind"):
        look = styles[str(kind)]
        shift = 0.012 * (kinds.index(str(kind)) - (len(kinds) - 1) / 2)  # so that kinds of one strength lie apart
        finished = group[group.status == FINISHED]
        mean = finished.groupby("strength")[METRIC].mean()
        axis.plot(mean.index + shift, mean, color=look.colour, ls=look.line, lw=1, zorder=2)
        axis.plot(finished.strength + shift, finished[METRIC], ls="", marker=look.marker, color=look.colour, zorder=3)
        pruned = group[group.status == PRUNED]
        axis.plot(pruned.strength + shift, pruned[METRIC], ls="", marker="x", color=look.colour, alpha=0.6, zorder=1)
    axis.set_xlim(-0.05, 1.08)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    tidy(axis)
