"""How figures look: sizes, colours, markers, legends; and how they are saved.

Colours are Okabe and Ito's, told apart by colour-blind readers; what matters differs in marker or line style too, for
print in grey. Text is at least 7 pt at the width for which a figure is made, a column or a page.
"""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, Locator, NullFormatter

from sefar.files import replacing

COLUMN_IN, PAGE_IN = 3.4, 7.0  # widths of a column and of a page, inches
TEXT_PT, SMALL_PT = 8.0, 7.0

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
OKABE_ITO = (BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE)
GREY, LIGHT, FAINT = "#767676", "#9A9A9A", "#DDDDDD"
BEST, PAPER, BASELINE, OTHER = BLUE, VERMILION, BLACK, LIGHT  # best trial, paper's default, supervised, the rest
SEQUENTIAL = "cividis"  # even in lightness, so that it survives print in grey

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT_PT,
    "axes.titlesize": TEXT_PT,
    "axes.labelsize": TEXT_PT,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "legend.fontsize": SMALL_PT,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "hatch.linewidth": 0.5,
    "text.parse_math": False,  # a class name may hold a dollar
    "svg.hashsalt": "sefar",  # same figure, same file
}
P = ParamSpec("P")


class NothingToDraw(ValueError):
    """The tables lack what a figure shows; the text says what, and how to get it."""


@dataclass(frozen=True)
class Look:
    """How a series is drawn."""

    colour: str
    marker: str
    line: Any = "-"


NAMED_LOOKS = {"SeFAR": Look(PAPER, "D", "-"), "supervised": Look(BASELINE, "s", ":")}
LOOKS = (
    Look(BLUE, "^", "--"),
    Look(GREEN, "o", "-."),
    Look(ORANGE, "v", (0, (3, 1, 1, 1, 1, 1))),
    Look(PURPLE, "P", (0, (5, 1))),
    Look(SKY, "X", (0, (1, 1))),
    Look(GREY, "p", (0, (7, 2, 1, 2))),
    Look(YELLOW, "h", (0, (2, 2))),
)


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name: SeFAR and the supervised baseline have their own, the others take turns."""
    others = iter(LOOKS * 100)
    return {name: NAMED_LOOKS.get(name) or next(others) for name in dict.fromkeys(names)}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let a function draw in the house style, whatever the caller's settings of matplotlib are."""

    @functools.wraps(draw)
    def within(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.style.context("default"), matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return within


def new_figure(width_in: float = COLUMN_IN, height_in: float = 2.5) -> Figure:
    """An empty figure that belongs to no window; pyplot's backend is the caller's, who may be a notebook."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axis: Axes, *, grid: str | None = "y") -> None:
    """Small ticks, no frame at top and right, a faint grid along `grid` ('x', 'y', 'both' or None).

    Ticks that appear only when the figure is drawn take the size given here, not the caller's.
    """
    axis.tick_params(which="both", labelsize=SMALL_PT, width=0.6, length=2.5)
    axis.spines[["top", "right"]].set_visible(False)
    if grid:
        axis.grid(axis=grid, color=FAINT, lw=0.5)  # type: ignore[arg-type]


class PlainLogLocator(Locator):
    """Ticks at 1, 2 and 5 times the powers of ten, at fewer where many decades share a narrow axis."""

    def __call__(self) -> Sequence[float]:
        """Ticks of the axis as it is now."""
        low, high = sorted(self.axis.get_view_interval())  # type: ignore[union-attr]
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Ticks from `vmin` to `vmax`."""
        decades = math.log10(vmax / vmin)
        factors = (1, 2, 5) if decades < 1.6 else ((1, 3) if decades < 2.3 else (1,))
        first, last = math.floor(math.log10(vmin)), math.ceil(math.log10(vmax))
        ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        return [tick for tick in ticks if vmin <= tick <= vmax]


def logarithmic(axis: Axes) -> None:
    """A logarithmic x axis with plain numbers."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(PlainLogLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def text_width_in(figure: Figure, text: str, size_pt: float = SMALL_PT) -> float:
    """Width of a line of text in inches."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    width, _, _ = renderer.get_text_width_height_descent(
        text, FontProperties(family="DejaVu Sans", size=size_pt), False
    )
    return float(width) / figure.dpi


def fitted(figure: Figure, text: str, inches: float, size_pt: float = SMALL_PT) -> str:
    """The text, its middle left out where it is wider than `inches`."""
    if text_width_in(figure, text, size_pt) <= inches:
        return text
    keep = len(text)
    while keep > 2:
        keep -= 1
        head = (keep + 1) * 2 // 3  # what tells names apart often stands at the end: keep a third of it
        short = text[:head].rstrip() + "…" + text[len(text) - (keep - head) :].lstrip()
        if text_width_in(figure, short, size_pt) <= inches:
            return short
    return "…"


def wrapped(figure: Figure, text: str, inches: float, size_pt: float = SMALL_PT, lines: int = 3) -> str:
    """The text on at most so many lines of that width, broken between words, if it can at the signs " · "."""
    parts = text.split(" · ")
    if len(parts) > 1 and all(text_width_in(figure, f"{part} ·", size_pt) <= inches for part in parts):
        words = [*(f"{part} ·" for part in parts[:-1]), parts[-1]]
    else:
        words = text.split()
    broken = [""]
    for word in words:
        longer = f"{broken[-1]} {word}".strip()
        if text_width_in(figure, longer, size_pt) <= inches or not broken[-1]:
            broken[-1] = longer
        else:
            broken.append(word)
    if len(broken) > lines:
        broken = [*broken[: lines - 1], " ".join(broken[lines - 1 :])]
    return "\n".join(fitted(figure, line, inches, size_pt) for line in broken)


def thinned(positions: Sequence[float], gap: float) -> list[int]:
    """Numbers of the positions that stay when each must be `gap` from the one kept before it."""
    kept: list[int] = []
    for number, position in enumerate(positions):
        if not kept or abs(position - positions[kept[-1]]) >= gap:
            kept.append(number)
    return kept


def save(figure: Figure, path: Path | str) -> tuple[Path, Path]:
    """Write a figure as PNG (200 dpi) and SVG beside each other; a failure leaves both as they were.

    Args:
        figure: to be saved.
        path: where to; an ending ``.png`` or ``.svg`` is taken off, folders are made.

    Returns:
        The paths of the PNG and of the SVG.

    Raises:
        OSError: they cannot be written.
    """
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".png", ".svg") else path
    png, svg = (stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "svg"))
    content = {png: rendered(figure, "png"), svg: rendered(figure, "svg")}
    png.parent.mkdir(parents=True, exist_ok=True)
    for file in (png, svg):
        if file.is_dir():
            raise IsADirectoryError(f"{file}: expected a file or nothing, found a folder; give another path")
    with replacing(png) as png_out, replacing(svg) as svg_out:
        for file, out in ((png, png_out), (svg, svg_out)):
            out.write(content[file])
            out.flush()
            os.fsync(out.fileno())  # a full disk shows here, before either file is replaced
    return png, svg


def rendered(figure: Figure, kind: str) -> bytes:
    """The figure as the bytes of a ``png`` or ``svg`` file; the same figure gives the same bytes."""
    out = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context(RC):
        figure.savefig(out, format=kind, dpi=200, metadata=metadata)
    return out.getvalue()
