"""Confusion: which class was said for which, with the sets of classes as blocks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from studies.results.figures.predicted import class_table, predicted
from studies.results.figures.style import (
    PAGE_IN,
    SMALL_PT,
    VERMILION,
    fitted,
    new_figure,
    styled,
    text_width_in,
    thinned,
    tidy,
)

LABEL_IN = 0.115  # least distance of two labels, inches
LONGEST = 0.34  # most of the width that names at the left take
BELOW_IN = 1.3  # most room for names of sets under the matrix
WHAT = {"class": "class (name and number)", "set": "set of classes", "number": "class (number)"}


@styled
def draw_confusion(
    predictions: pd.DataFrame, *, part: str = "test", network: str = "student", width_in: float = PAGE_IN
) -> Figure:
    """The confusion matrix of one trial, each row in percent of the class's clips.

    Classes are ordered by set, and blocks of a set are outlined; with more classes than lines fit, sets stand in for
    the names of classes, and where sets are too narrow too, every nth is named.

    Args:
        predictions: rows of ``predictions`` of one trial.
        part: of the data.
        network: ``student`` or ``teacher``.
        width_in: of the figure, inches.

    Returns:
        A figure a little lower than it is wide.

    Raises:
        NothingToDraw: there are no such predictions.
        ValueError: the rows are of several trials.
    """
    rows = predicted(predictions, part=part, network=network)
    classes = class_table(rows).reset_index().sort_values(["set", "label"], kind="stable", ignore_index=True)
    place = {label: number for number, label in enumerate(classes.label)}
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (rows.label.map(place).to_numpy(), rows.said.map(place).to_numpy()), 1)
    clips = counts.sum(1, keepdims=True)
    share = 100 * counts / np.maximum(clips, 1)
    figure = new_figure(width_in, width_in)
    side_in, below_in, _ = _sizes_in(figure, classes)
    figure.set_figheight(side_in + below_in + 0.35)
    axis = figure.subplots()
    image = axis.imshow(np.ma.masked_equal(share, 0), cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    blocks = _blocks(classes["set"])
    for first, last in blocks:
        corner, size = (first - 0.5, first - 0.5), last - first + 1
        axis.add_patch(Rectangle(corner, size, size, fill=False, ec=VERMILION, lw=1.1, zorder=3))
    _names(figure, axis, classes, blocks)
    bar = figure.colorbar(image, ax=axis, aspect=35, pad=0.02)
    bar.set_label("share of the class's clips (%)", fontsize=8)
    bar.ax.tick_params(labelsize=SMALL_PT, length=2)
    figure.suptitle(_sentence(rows, classes, network, part, bool(blocks)), fontsize=8)
    return figure


def _sizes_in(figure: Figure, classes: pd.DataFrame) -> tuple[float, float, str]:
    """Side of the matrix and height of what stands under it, inches, and what is named: class, set or number."""
    width = figure.get_figwidth()

    def side(names: Iterable[str]) -> float:
        longest = max(text_width_in(figure, name) for name in names)
        return width - min(longest, LONGEST * width) - 1.15

    numbers = classes.label.astype(str)
    if not (classes.name == "class " + numbers).all() and side(classes.name + "  00") / len(classes) >= LABEL_IN:
        return side(classes.name + "  00"), 0.35, "class"
    if (classes["set"] != "").any():
        longest = max(text_width_in(figure, name) for name in classes["set"])
        return side(classes["set"]), min(longest, BELOW_IN) + 0.3, "set"
    return side(numbers), 0.45, "number"


def _blocks(sets: pd.Series) -> list[tuple[int, int]]:
    """First and last row of each named set."""
    runs = (sets != sets.shift()).cumsum()
    return [(int(g.index[0]), int(g.index[-1])) for _, g in sets.groupby(runs) if g.iloc[0]]


def _sentence(rows: pd.DataFrame, classes: pd.DataFrame, network: str, part: str, sets: bool) -> str:
    said = f"{network} on {part}: {100 * rows.right.mean():.1f} % of {len(rows)} clips right"
    wrong = rows[~rows.right]
    if not sets or wrong.empty:
        return said
    of = classes.set_index("label")["set"]
    within = (wrong.label.map(of) == wrong.said.map(of)).mean()
    return f"{said}; {100 * within:.0f} % of the errors stay within the set (outlined)"


def _names(figure: Figure, axis: Axes, classes: pd.DataFrame, blocks: list[tuple[int, int]]) -> None:
    """Class names where lines fit, else names of sets at the middle of their blocks."""
    tidy(axis, grid=None)
    axis.set_xlabel("predicted class")
    side_in, _, what = _sizes_in(figure, classes)
    each_in = side_in / len(classes)
    middles: list[float] = list(range(len(classes)))
    numbers = classes.label.astype(str).tolist()
    if what == "class":
        kept, names, below = list(range(len(classes))), classes.name + "  " + classes.label.astype(str), numbers
    elif what == "set":
        middles = [(first + last) / 2 for first, last in blocks]
        kept = thinned(middles, LABEL_IN / each_in)
        names = pd.Series([str(classes["set"][first]) for first, _ in blocks])
        below = [fitted(figure, name, BELOW_IN) for name in names]
    else:
        kept, names, below = thinned(middles, LABEL_IN / each_in), pd.Series(numbers), numbers
    places = [middles[n] for n in kept]
    tight = each_in < max(text_width_in(figure, text) for text in below) + 0.04
    axis.set_xticks(places, [below[n] for n in kept], rotation=90 if tight else 0)
    axis.set_yticks(places, [fitted(figure, names[n], LONGEST * figure.get_figwidth()) for n in kept])
    axis.set_ylabel(WHAT[what])
    axis.spines[["top", "right"]].set_visible(True)
