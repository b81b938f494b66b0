"""Drawing strips of frames: coloured borders, numbered badges, patch outlines, captions and a legend.

Shape suffixes: C channels, H, W pixels, R, Q rows and columns of patches.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sefar.errors import DataError

# Okabe-Ito, distinguishable without colour vision; the context is grey
FINE_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442")
CONTEXT_COLOUR, NOTE_COLOUR = "#999999", "#555555"
TITLE_PIXELS, NOTE_PIXELS, CAPTION_PIXELS, LEGEND_PIXELS = 30, 16, 23, 22  # heights of the lines of text
BORDER_PIXELS, GAP_PIXELS, MARGIN_PIXELS = 3, 12, 2
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
CAPTION_FONT, TITLE_FONT = ImageFont.load_default(12), ImageFont.load_default(16)


@dataclass(frozen=True)
class Tile:
    """One frame of a strip.

    Attributes:
        frame_CHW: uint8 picture.
        border: colour of its border.
        badge: text in its corner; empty for none.
        badge_colour: background of the badge.
        moved: the badge has its colour and black exchanged.
        mask_RQ: bool over patches; the border between True and False is drawn.
    """

    frame_CHW: Tensor
    border: str
    badge: str = ""
    badge_colour: str = "#FFFFFF"
    moved: bool = False
    mask_RQ: Tensor | None = None


@dataclass(frozen=True)
class Strip:
    """A captioned row of frames, in groups with a gap between them."""

    caption: str
    groups: Sequence[Sequence[Tile]]


@dataclass(frozen=True)
class Section:
    """Strips under a title, with lines that say how to read them."""

    title: str
    notes: Sequence[str]
    strips: Sequence[Strip]


def granularity_colour(granularity: int, granularities: int) -> str:
    """Colour of a granularity: the last, the context, is grey."""
    last = granularity == granularities - 1
    return CONTEXT_COLOUR if last else FINE_COLOURS[granularity % len(FINE_COLOURS)]


def draw_sections(legend: Sequence[tuple[str, str]], sections: Sequence[Section], scale: int) -> Image.Image:
    """One picture: the legend, then each section.

    Args:
        legend: pairs of colour and meaning.
        sections: from top to bottom.
        scale: whole number by which frames are enlarged, pixel by pixel.

    Returns:
        An RGB picture as wide as its widest row.
    """
    rows = [_legend(legend)]
    for section in sections:
        rows.append(_text(section.title, TITLE_FONT, TITLE_PIXELS))
        rows += [_text(note, CAPTION_FONT, NOTE_PIXELS, NOTE_COLOUR) for note in section.notes]
        for strip in section.strips:
            rows += [_text(strip.caption, CAPTION_FONT, CAPTION_PIXELS), _frames(strip, scale)]
    picture = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        picture.paste(row, (0, top))
        top += row.height
    return picture


def save_picture(picture: Image.Image, path: Path, *, colours: int = 0) -> None:
    """Write a PNG, making its folder where there is none.

    Args:
        picture: what to write.
        path: where to.
        colours: reduce to so many colours, 2 to 256, for a smaller file; 0: keep all.

    Raises:
        DataError: the file cannot be written.
    """
    if colours:  # without dithering, which would look like noise of the clip's own
        picture = picture.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, format="PNG", optimize=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: the picture cannot be written ({reason}); give another path ending in .png"
        ) from error


def _plain(text: str) -> str:
    """Text in the letters that the font has."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _text(text: str, font: Font, height: int, colour: str = "black") -> Image.Image:
    text = _plain(text)
    row = Image.new("RGB", (round(font.getlength(text)) + 2 * MARGIN_PIXELS + 2, height), "white")
    ImageDraw.Draw(row).text((MARGIN_PIXELS, height - 4), text, fill=colour, font=font, anchor="ls")
    return row


def _legend(legend: Sequence[tuple[str, str]]) -> Image.Image:
    parts = [_text(meaning, CAPTION_FONT, NOTE_PIXELS) for _, meaning in legend]
    swatch, space = 14, 14
    row = Image.new("RGB", (MARGIN_PIXELS + sum(swatch + space + part.width for part in parts), LEGEND_PIXELS), "white")
    draw, left = ImageDraw.Draw(row), MARGIN_PIXELS
    for (colour, _), part in zip(legend, parts, strict=True):
        draw.rectangle((left, 4, left + swatch - 3, 4 + swatch - 3), fill=colour)
        row.paste(part, (left + swatch, 3))
        left += swatch + space + part.width
    return row


def _frames(strip: Strip, scale: int) -> Image.Image:
    size = strip.groups[0][0].frame_CHW.shape[-1]
    side = size * scale + 2 * BORDER_PIXELS
    count = sum(len(group) for group in strip.groups)
    row = Image.new("RGB", (count * side + GAP_PIXELS * (len(strip.groups) - 1), side), "white")
    left = 0
    for group in strip.groups:
        for tile in group:
            row.paste(_tile(tile, scale), (left, 0))
            left += side
        left += GAP_PIXELS
    return row


def _tile(tile: Tile, scale: int) -> Image.Image:
    frame = Image.fromarray(np.ascontiguousarray(tile.frame_CHW.permute(1, 2, 0).numpy()))
    # pixel by pixel: what is shown is what the model gets, not smoother
    frame = frame.resize((frame.width * scale, frame.height * scale), Image.Resampling.NEAREST)
    picture = Image.new("RGB", (frame.width + 2 * BORDER_PIXELS, frame.height + 2 * BORDER_PIXELS), tile.border)
    picture.paste(frame, (BORDER_PIXELS, BORDER_PIXELS))
    draw = ImageDraw.Draw(picture)
    if tile.mask_RQ is not None:
        _outline(draw, tile.mask_RQ, frame.width / tile.mask_RQ.shape[1])
    if tile.badge:
        right = BORDER_PIXELS + round(CAPTION_FONT.getlength(tile.badge)) + 6
        back, front = ("black", tile.badge_colour) if tile.moved else (tile.badge_colour, "black")
        draw.rectangle((BORDER_PIXELS, BORDER_PIXELS, right, BORDER_PIXELS + 14), fill=back)
        draw.text((BORDER_PIXELS + 4, BORDER_PIXELS + 12), tile.badge, fill=front, font=CAPTION_FONT, anchor="ls")
    return picture


def _outline(draw: ImageDraw.ImageDraw, mask_RQ: Tensor, patch: float) -> None:
    """Lines, white on black, wherever the mask changes from one patch to the next."""
    mask = mask_RQ.tolist()
    lines = []
    for r, row in enumerate(mask):
        for q, inside in enumerate(row):
            left, top = BORDER_PIXELS + round(q * patch), BORDER_PIXELS + round(r * patch)
            if q and row[q - 1] != inside:
                lines.append((left, top, left, top + round(patch)))
            if r and mask[r - 1][q] != inside:
                lines.append((left, top, left + round(patch), top))
    for colour, width in (("black", 4), ("white", 2)):
        for line in lines:
            draw.line(line, fill=colour, width=width)
