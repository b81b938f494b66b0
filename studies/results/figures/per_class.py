"""Per class: what one trial gained and lost over another, with the clips each class rests on."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from studies.results.figures.footer import footer
from studies.results.figures.interval_rows import heights_in
from studies.results.figures.predicted import class_table, predicted
from studies.results.figures.style import (
    BLACK,
    BLUE,
    PAGE_IN,
    SMALL_PT,
    VERMILION,
    NothingToDraw,
    fitted,
    new_figure,
    styled,
    tidy,
)
from studies.results.stats.clips import DIFFERENCE, clustered_interval

MOST = 30  # classes; of more, those that changed most


def class_changes(
    predictions: pd.DataFrame, base: pd.DataFrame, *, part: str = "test", network: str = "student", seed: int = 0
) -> pd.DataFrame:
    """The change of every class's accuracy between two trials on the same clips, greatest gain first.

    Args:
        predictions: rows of ``predictions`` of one trial.
        base: of the trial it is compared with.
        part: of the data.
        network: ``student`` or ``teacher``.
        seed: of the resampling.

    Returns:
        ``label``, ``name``, ``clips``, ``gained`` and ``lost`` clips, ``change`` in points with ``low`` and ``high``
        (groups of clips resampled; NaN where a class has one group or no spread).

    Raises:
        NothingToDraw: a trial has no such predictions, or they share no clip.
    """
    now, before = (predicted(rows, part=part, network=network) for rows in (predictions, base))
    both = now.merge(before[["clip_id", "right"]], on="clip_id", suffixes=("", "_base"))
    if both.empty:
        raise NothingToDraw("the two trials share no clip: compare trials of one data set and subset")
    names = class_table(now)["name"]
    grouped = "group" in both and both["group"].notna().all()
    rows = []
    for label, clips in both.groupby("label"):
        difference = clips.right.astype(float) - clips.right_base.astype(float)
        interval = clustered_interval(difference, clips["group"] if grouped else None, seed=seed, bounds=DIFFERENCE)
        rows.append(
            {
                "label": label,
                "name": names[label],
                "clips": len(clips),
                "gained": int((difference > 0).sum()),
                "lost": int((difference < 0).sum()),
                "change": interval.value,
                "low": interval.low,
                "high": interval.high,
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values(["change", "label"], ascending=[False, True], ignore_index=True)


@styled
def draw_per_class(
    predictions: pd.DataFrame,
    base: pd.DataFrame,
    *,
    names: tuple[str, str] = ("trial", "base"),
    part: str = "test",
    network: str = "student",
    most: int = MOST,
    width_in: float = PAGE_IN,
) -> Figure:
    """Change of accuracy per class between two trials, sorted, with intervals and clip counts.

    Args:
        predictions: rows of ``predictions`` of one trial.
        base: of the trial it is compared with.
        names: what the two are called.
        part: of the data.
        network: ``student`` or ``teacher``.
        most: classes drawn; of more, those that gained and lost most.
        width_in: of the figure, inches.

    Returns:
        A figure as high as its classes need.

    Raises:
        NothingToDraw: a trial has no such predictions, or they share no clip.
    """
    table = class_changes(predictions, base, part=part, network=network)
    left_out = max(len(table) - most, 0)
    if left_out:
        order = table.change.abs().sort_values(ascending=False, kind="stable").index[:most]
        shown = table.loc[sorted(order)].reset_index(drop=True)
    else:
        shown = table
    figure = new_figure(width_in, 0.75 + sum(heights_in(shown.name.tolist())))
    axis = figure.subplots()
    _bars(axis, shown)
    axis.axvline(0, color=BLACK, lw=0.8)
    axis.set_yticks(range(len(shown)), [fitted(figure, name, 0.42 * width_in) for name in shown.name])
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.set_xlabel(f"change of the {network}'s accuracy on {part} clips (points)")
    axis.set_title(
        fitted(figure, f"{names[0]} − {names[1]}; right: clips gained, lost", width_in - 0.2, 8), loc="right"
    )
    tidy(axis, grid="x")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    footer(
        figure,
        [
            Patch(facecolor=BLUE, label="gained"),
            Patch(facecolor=VERMILION, hatch="////", edgecolor="white", label="lost"),
            Line2D([], [], color=BLACK, lw=0.9, label="95 % interval over groups of clips, where there is one"),
        ],
        note=f"The {left_out} classes that changed least are not shown." if left_out else "",
    )
    return figure


def _bars(axis: Axes, shown: pd.DataFrame) -> None:
    """A bar a class with its interval, and its clips in words at the right."""
    y = list(range(len(shown)))
    colours = [BLUE if change > 0 else VERMILION for change in shown.change]
    hatches = ["" if change > 0 else "////" for change in shown.change]
    axis.barh(y, shown.change, 0.72, color=colours, hatch=hatches, edgecolor="white", lw=0)
    for place, row in zip(y, shown.to_dict("records"), strict=True):
        if math.isfinite(row["low"]):
            axis.plot([row["low"], row["high"]], [place, place], color=BLACK, lw=0.9, solid_capstyle="butt")
        axis.annotate(
            f"+{row['gained']} −{row['lost']} of {row['clips']}",
            (1.0, place),
            xycoords=axis.get_yaxis_transform(),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL_PT,
            annotation_clip=False,
        )
