"""The leaderboard: top configurations of each label scope with intervals, the baselines marked."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.results.confirm import confirm_rows, without_split
from studies.results.figures.footer import footer
from studies.results.figures.interval_rows import IntervalRow, broken_labels, draw_rows, heights_in
from studies.results.figures.style import (
    BASELINE,
    BEST,
    GREY,
    OTHER,
    PAGE_IN,
    PAPER,
    Look,
    NothingToDraw,
    fitted,
    new_figure,
    styled,
    tidy,
)
from studies.results.leaderboard import MARKS, describe_parameters, search_rows, short_scope
from studies.results.schema import DEFAULT, FINISHED, METRIC, SUPERVISED, text_of
from studies.results.stats.bootstrap import stratified_interval
from studies.results.stats.clips import accuracy_interval
from studies.results.stats.interval import Interval, unknown

TEST = "test_student_top1"
NAMES = {"test_student_top1": "test top-1 of the student (%)", METRIC: "dev top-1 of the student (%)"}
LOOKS = {DEFAULT: Look(PAPER, "D"), SUPERVISED: Look(BASELINE, "s")}
Entry = tuple[float, dict[Any, Any], Interval, list[float]]  # mean on dev, a row of it, interval, single runs
WINNER, CONTENDER = Look(BEST, "o"), Look(GREY, "o")


@styled
def draw_leaderboard(
    trials: pd.DataFrame,
    scopes: Sequence[str] | None = None,
    *,
    predictions: pd.DataFrame | None = None,
    value: str | None = None,
    top: int = 8,
    width_in: float = PAGE_IN,
) -> Figure:
    """The best configurations of each scope by dev accuracy, with the default and the supervised baseline.

    Where a scope has a confirm stage, a row is a configuration over its training seeds and label splits, with a 95 %
    bootstrap interval over runs and each run as a tick. Else a row is one trial, and its interval, where predictions
    are given, resamples groups of test clips: it says nothing of other seeds. The scope's title says which.

    Args:
        trials: rows of ``trials``, of both stages.
        scopes: the panels in order; None: every scope of the search, or else of the table.
        predictions: rows of ``predictions``, for intervals of single trials.
        value: column that is drawn, percent; None: that on test clips where a scope's trials have it, else on dev. The
            best are those on dev, whatever is drawn.
        top: most configurations a scope, baselines come on top.
        width_in: of the figure, inches.

    Returns:
        A figure as high as its rows need.

    Raises:
        NothingToDraw: no scope has a finished trial.
    """
    if scopes is None:
        scopes = _panels(trials)
    panels = [(scope, *_rows(trials, scope, predictions, value, top)) for scope in scopes]
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        raise NothingToDraw("no finished trial to rank: wait for one, or continue the study with --resume")
    figure = new_figure(width_in, 1)
    labels = [broken_labels(figure, rows, 0.5 * width_in) for _, rows, *_ in panels]
    heights = [sum(heights_in(names)) + 0.62 for names in labels]
    figure.set_figheight(sum(heights))
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (scope, rows, drawn, how), names in zip(axes, panels, labels, strict=True):
        draw_rows(axis, rows, names)
        _finish(axis, rows, drawn)
        title = f"{short_scope(without_split(scope))}: {how}"
        axis.set_title(fitted(figure, title, width_in - 0.2, 8), loc="right")
    footer(figure, _legend([row for _, rows, *_ in panels for row in rows]))
    return figure


def _panels(trials: pd.DataFrame) -> list[str]:
    """Scopes in order of appearance: those searched; of others one label split, since all make one panel."""
    scopes = list(dict.fromkeys(search_rows(trials).scope))
    bases = {without_split(scope) for scope in scopes}
    for scope in trials.scope:
        if without_split(scope) not in bases:
            bases.add(without_split(scope))
            scopes.append(scope)
    return scopes


def _legend(rows: Sequence[IntervalRow]) -> list[Line2D]:
    shown = [(WINNER, "best on dev"), (CONTENDER, "other configuration")]
    shown += [(LOOKS[DEFAULT], "paper's default SeFAR"), (LOOKS[SUPERVISED], "supervised baseline")]
    used = [row.look for row in rows]
    handles = [Line2D([], [], lw=1.6, color=k.colour, marker=k.marker, label=text) for k, text in shown if k in used]
    if any(row.dots for row in rows):
        handles.append(Line2D([], [], ls="", marker="|", ms=8, color=OTHER, label="single run"))
    return handles


def _finish(axis: Axes, rows: Sequence[IntervalRow], drawn: str) -> None:
    for row in rows:
        if row.look is LOOKS[DEFAULT]:
            axis.axvline(row.value, color=PAPER, lw=0.8, ls="--", zorder=1)
    axis.set_xlabel(NAMES.get(drawn, f"{drawn} (%)"))
    tidy(axis, grid="x")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _rows(
    trials: pd.DataFrame, scope: str, predictions: pd.DataFrame | None, value: str | None, top: int
) -> tuple[list[IntervalRow], str, str]:
    """Rows of a scope, the column they show, and what their intervals are."""
    found, drawn, how = _entries(trials, scope, predictions, value)
    found.sort(key=lambda one: (-one[0] if one[0] == one[0] else math.inf, str(one[1]["trial_id"])))
    kept = found[:top] + [one for one in found[top:] if one[1]["role"] in MARKS]
    numbers = dict(zip(trials.trial_id, trials.number, strict=True))
    rows = []
    for rank, (_, row, interval, dots) in enumerate(kept):
        look = LOOKS.get(str(row["role"]), WINNER if rank == 0 else CONTENDER)
        said = interval.text() + (f"  n = {len(dots)}" if dots else "")
        label = _label(row, numbers)
        rows.append(IntervalRow(label, interval.value, interval.low, interval.high, look, True, said, dots))
    return rows, drawn, how


def _entries(
    trials: pd.DataFrame, scope: str, predictions: pd.DataFrame | None, value: str | None
) -> tuple[list[Entry], str, str]:
    """Configurations of a scope in no order; else as `_rows`."""
    confirmed = confirm_rows(trials, scope) if "stage" in trials else trials.iloc[:0]
    confirmed = confirmed[confirmed.status == FINISHED]
    if len(confirmed):
        drawn = value or (TEST if confirmed[TEST].notna().any() else METRIC)
        keys = [confirmed.role, confirmed.confirms.fillna("") if "confirms" in confirmed else "", confirmed.parameters]
        groups = [group for _, group in confirmed.groupby(keys)]
        found = [_over_runs(group, drawn) for group in groups if group[drawn].notna().any()]
        how = "confirmed over seeds and splits, 95 % interval over runs"
    else:
        finished = search_rows(trials[trials.scope == scope])
        finished = finished[finished.status == FINISHED]
        drawn = value or (TEST if len(finished) and finished[TEST].notna().any() else METRIC)
        found = [_single(row, drawn, predictions) for row in finished.to_dict("records") if row[drawn] == row[drawn]]
        how = "one run each" + (
            ", 95 % interval over groups of clips" if any(math.isfinite(i.low) for _, _, i, _ in found) else ""
        )
    return found, drawn, how


def _over_runs(group: pd.DataFrame, drawn: str) -> Entry:
    """A configuration's mean on dev, one of its rows, its interval over runs, and the runs."""
    known = group[group[drawn].notna()]
    runs = {"all": known[drawn].to_numpy()}
    splits = {"all": known.scope.to_numpy()}
    shared = 1 < known.scope.nunique() < len(known)
    interval = stratified_interval(runs, clusters=splits if shared else None)
    return float(group[METRIC].mean()), known.iloc[0].to_dict(), interval, known[drawn].astype(float).tolist()


def _single(row: dict[Any, Any], drawn: str, predictions: pd.DataFrame | None) -> Entry:
    """A trial's accuracy on dev, its row, and its interval over clips where it has predictions on test clips."""
    interval = unknown(float(row[drawn]), "no predictions")
    if predictions is not None and drawn == TEST and len(predictions):
        own = predictions[(predictions.trial_id == row["trial_id"]) & (predictions.part == "test")]
        if len(own):
            interval = accuracy_interval(own)
    return float(row[METRIC]), row, interval, []


def _label(row: dict[Any, Any], numbers: dict[str, int]) -> str:
    if row["role"] in MARKS:
        return MARKS[row["role"]]
    origin = text_of(row.get("confirms"))
    number = numbers.get(origin) if origin else row["number"]
    name = f"{int(number):03d}" if number is not None else origin
    return f"{name}  {describe_parameters(json.loads(text_of(row['parameters']) or '{}'))}".strip()
