"""Strips of frames: the clips that one trial gained over another, and those that it lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.results.figures.style import (
    BLUE,
    PAGE_IN,
    SMALL_PT,
    VERMILION,
    NothingToDraw,
    fitted,
    new_figure,
    styled,
)

CAPTION_IN, GAP_IN, TITLE_IN = 0.17, 0.08, 0.24
Strip = tuple[str, np.ndarray]


@styled
def draw_clip_strips(
    gained: Sequence[Strip],
    lost: Sequence[Strip] = (),
    *,
    counts: tuple[int, int] | None = None,
    frames: int = 8,
    width_in: float = PAGE_IN,
) -> Figure:
    """A strip a clip, from its first frame to its last, under its caption.

    Args:
        gained: caption and frames, uint8 (T, H, W, 3), of the clips that are now right.
        lost: of those that no longer are.
        counts: how many were gained and lost in all; None: those shown.
        frames: most frames a strip, spread evenly over the clip.
        width_in: of the figure, inches.

    Returns:
        A figure as high as the strips need.

    Raises:
        NothingToDraw: neither has a clip.
        ValueError: frames of another shape or type.
    """
    if not gained and not lost:
        raise NothingToDraw(
            "no clip was gained or lost: both trials are right and wrong on the same clips; compare others"
        )
    sections = [(name, colour, strips) for name, colour, strips in _sections(gained, lost, counts) if strips]
    rows: list[tuple[str, str, Strip | None]] = []
    for name, colour, strips in sections:
        rows += [(name, colour, None), *((caption, colour, (caption, clip)) for caption, clip in strips)]
    heights = [TITLE_IN if strip is None else _height_in(strip, frames, width_in) for _, _, strip in rows]
    figure = new_figure(width_in, sum(heights) + 0.1)
    figure.set_layout_engine(None)  # strips fill the page: their places are known
    total, top = figure.get_figheight(), figure.get_figheight() - 0.05
    for (text, colour, strip), height in zip(rows, heights, strict=True):
        if strip is None:
            figure.text(0.08 / width_in, (top - 0.8 * TITLE_IN) / total, text, fontsize=8, color=colour, weight="bold")
        else:
            low = (top - height + GAP_IN) / total
            place = (0.16 / width_in, low, 1 - 0.24 / width_in, (height - CAPTION_IN - GAP_IN) / total)
            _strip(figure.add_axes(place), strip[1], frames)
            x, y = 0.16 / width_in, (top - 0.8 * CAPTION_IN) / total
            figure.text(x, y, fitted(figure, text, width_in - 0.3), fontsize=SMALL_PT)
            bar = figure.add_axes((0.06 / width_in, low, 0.05 / width_in, place[3]))
            bar.set_facecolor(colour)
            bar.set(xticks=[], yticks=[])
            bar.spines[:].set_visible(False)
        top -= height
    return figure


def _sections(
    gained: Sequence[Strip], lost: Sequence[Strip], counts: tuple[int, int] | None
) -> list[tuple[str, str, Sequence[Strip]]]:
    more, fewer = counts or (len(gained), len(lost))
    return [
        (f"+ gained: only the first trial is right ({len(gained)} of {more})", BLUE, gained),
        (f"− lost: only the second trial is right ({len(lost)} of {fewer})", VERMILION, lost),
    ]


def _chosen(clip_THWC: np.ndarray, frames: int) -> np.ndarray:
    count = min(frames, len(clip_THWC))
    return clip_THWC[np.linspace(0, len(clip_THWC) - 1, count).round().astype(int)]


def _height_in(strip: Strip, frames: int, width_in: float) -> float:
    caption, clip = strip
    if clip.ndim != 4 or clip.shape[-1] != 3 or clip.dtype != np.uint8 or not clip.size:
        raise ValueError(f"strip '{caption}': expected uint8 frames (T, H, W, 3), got {clip.dtype} {clip.shape}")
    _, height, width, _ = clip.shape
    frame_in = min((width_in - 0.24) / min(frames, len(clip)), 1.1)  # a clip of two frames does not fill the page
    return CAPTION_IN + GAP_IN + frame_in * height / width


def _strip(axis: Axes, clip_THWC: np.ndarray, frames: int) -> None:
    chosen = _chosen(clip_THWC, frames)
    line = np.full_like(chosen[:, :, :1], 255)  # a white line tells the frames apart
    axis.imshow(np.concatenate([np.concatenate([f, w], 1) for f, w in zip(chosen, line, strict=True)], 1))
    axis.set_anchor("W")
    axis.axis("off")
