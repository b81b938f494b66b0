"""What stands around the panels of a figure: the label they share, a legend, sentences. Each has its own room.

Matplotlib's constrained layout puts a figure's common label and a legend outside the axes into the same place; here the
figure grows by what is written under it, and the panels keep their height.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend

from studies.results.figures.style import GREY, SMALL_PT, TEXT_PT, wrapped

LINE_IN, GAP_IN, EDGE_IN = 0.13, 0.06, 0.04


def footer(
    figure: Figure, handles: Sequence[Artist] = (), *, xlabel: str = "", ylabel: str = "", note: str = ""
) -> None:
    """Write under the panels, from top to bottom, the label of their x axes, the legend and a note; ylabel at the left.

    To be called last, when the panels stand and the figure is as high as they need.

    Args:
        figure: grows by the height of what is written under it.
        handles: of the legend, in as many columns as the width takes.
        xlabel: label that all panels share, with unit.
        ylabel: likewise.
        note: sentences, wrapped to the width.
    """
    panels_in = figure.get_figheight()
    width_in = figure.get_figwidth()
    broken = wrapped(figure, note, width_in - 0.2, lines=12) if note else ""
    label = wrapped(figure, xlabel, width_in - 0.2, TEXT_PT)
    legend, legend_in = _legend(figure, handles)
    heights = {
        "note": LINE_IN * (broken.count("\n") + 1) + GAP_IN if note else 0.0,
        "legend": legend_in + GAP_IN if legend else 0.0,
        "xlabel": 0.14 * (label.count("\n") + 1) if xlabel else 0.0,
    }
    below = sum(heights.values()) + (EDGE_IN if any(heights.values()) else 0.0)
    total = panels_in + below
    figure.set_figheight(total)
    bottom = EDGE_IN
    if note:
        figure.text(0.1 / width_in, bottom / total, broken, fontsize=SMALL_PT, color=GREY, va="bottom")
    bottom += heights["note"]
    if legend:
        legend.set_bbox_to_anchor((0.5, bottom / total), transform=figure.transFigure)
    bottom += heights["legend"]
    if xlabel:
        figure.text(0.5, bottom / total, label, fontsize=TEXT_PT, ha="center", va="bottom")
    if ylabel:
        figure.supylabel(ylabel, fontsize=TEXT_PT, y=(below / total + 1) / 2)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, below / total, 1, 1 - below / total))


def _legend(figure: Figure, handles: Sequence[Artist]) -> tuple[Legend | None, float]:
    """The legend in as many columns as fit, and its height in inches."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(
            handles=list(handles),
            loc="lower center",
            bbox_to_anchor=(0.5, 0),
            ncols=columns,
            fontsize=SMALL_PT,
            handlelength=2.4,
            columnspacing=1.4,
            borderaxespad=0,
            borderpad=0.1,
        )
        size = legend.get_window_extent(renderer)
        if columns == 1 or size.width <= 0.98 * figure.bbox.width:
            return legend, float(size.height) / figure.dpi
        legend.remove()
    return None, 0.0
