"""A forest of paired differences with intervals: which of them can be told from nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.results.figures.footer import footer
from studies.results.figures.interval_rows import IntervalRow, broken_labels, draw_rows, heights_in
from studies.results.figures.style import (
    BLACK,
    BLUE,
    GREY,
    PAGE_IN,
    VERMILION,
    Look,
    NothingToDraw,
    new_figure,
    styled,
    tidy,
)
from studies.results.stats.interval import Interval
from studies.results.stats.paired import PairedDifference

BETTER, WORSE, UNCLEAR, UNKNOWN = Look(BLUE, "o"), Look(VERMILION, "s"), Look(GREY, "D"), Look(GREY, "X")
ALPHA = 0.05  # above it an adjusted p-value proves nothing, whatever the interval says
WORDS = (
    (BETTER, "better"),
    (WORSE, "worse"),
    (UNCLEAR, "cannot be told from 0"),
    (UNKNOWN, "no interval: too few runs"),
)


def difference_row(label: str, difference: Interval | PairedDifference, adjusted_p: float | None = None) -> IntervalRow:
    """A difference as a row: coloured where it can be told from 0, grey and open where not or unknown.

    It can where its interval leaves out 0 and, if a p-value adjusted for several comparisons is given, that is small.
    """
    paired = isinstance(difference, PairedDifference)
    interval = difference.interval if isinstance(difference, PairedDifference) else difference
    chance = adjusted_p is not None and not adjusted_p <= ALPHA
    look = UNCLEAR if interval.holds(0) or chance else (BETTER if interval.value > 0 else WORSE)
    look = look if interval.known else UNKNOWN
    said = re.sub(r"[+-](0\.0)(?![0-9])", r"\1", interval.text(signed=True)).replace("-", "−")
    dots: list[float] = []
    if isinstance(difference, PairedDifference):
        shown = _p_value(difference.p_value, "p") if adjusted_p is None else _p_value(adjusted_p, "adjusted p")
        said += f"  n = {difference.pairs}{shown}"
        dots = [float(v) for v in difference.per_pair.get("difference", [])]
    return IntervalRow(
        label, interval.value, interval.low, interval.high, look, look in (BETTER, WORSE), said, dots if paired else ()
    )


def look_handles(rows: Sequence[IntervalRow], prefix: str = "") -> list[Line2D]:
    """Legend of the looks that `difference_row` gave these rows."""
    return [
        Line2D([], [], lw=1.6, marker=look.marker, color=look.colour, mfc=face, label=prefix + text)
        for look, text in WORDS
        for face in (look.colour if look in (BETTER, WORSE) else "white",)
        if any(row.look is look and math.isfinite(row.value) for row in rows)
    ]


def _p_value(p: float, name: str) -> str:
    if not math.isfinite(p):
        return ""
    return f"  {name} < 0.001" if p < 0.001 else f"  {name} = {p:.2g}"


@styled
def draw_forest(
    differences: Mapping[str, Interval | PairedDifference],
    *,
    adjusted_p: Mapping[str, float] | None = None,
    xlabel: str = "difference in test top-1 (points)",
    note: str = "",
    width_in: float = PAGE_IN,
) -> Figure:
    """A row a difference, from top to bottom as given, with its value and interval in words at the right.

    Args:
        differences: by what is compared, in percent points; NaN bounds are drawn as a marker alone.
        adjusted_p: p-value after `studies.results.stats.multiplicity.holm`, by what is compared; shown instead of the
            single ones, and what it does not bear out is grey.
        xlabel: what the differences are of, with unit.
        note: sentences under the figure, such as `studies.results.stats.multiplicity.comparison_note`.
        width_in: of the figure, inches.

    Returns:
        A figure as high as its rows need.

    Raises:
        NothingToDraw: no difference has a value.
    """
    adjusted = adjusted_p or {}
    rows = [difference_row(label, d, adjusted.get(label)) for label, d in differences.items()]
    rows = [row for row in rows if math.isfinite(row.value)]
    if not rows:
        raise NothingToDraw(
            "no pair to compare: two methods need finished trials of the same scope, label split and training seed"
        )
    figure = new_figure(width_in, 1)
    labels = broken_labels(figure, rows, 0.3 * width_in)
    figure.set_figheight(sum(heights_in(labels)) + 0.5)
    axis = figure.subplots()
    draw_rows(axis, rows, labels)
    axis.axvline(0, color=BLACK, lw=0.8, zorder=1)
    axis.set_xlabel(xlabel)
    tidy(axis, grid="x")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    handles = look_handles(rows)
    if any(row.dots for row in rows):
        handles.append(Line2D([], [], ls="", marker="|", ms=8, color=GREY, label="single pair"))
    footer(figure, handles, note=note)
    return figure
