"""Pictures of what the model sees: a strip a class, frames in time order, bordered in their granularity's colour.

Shape suffixes: T frames of all granularities, C channels, H, W pixels.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sefar.config import TrainConfig
from sefar.data.augment import evaluation_crop
from sefar.data.framestore import FrameStore
from sefar.data.loaders import ClipReader
from sefar.data.sampling import sample_frames
from sefar.data.scopes import Scope
from sefar.errors import DataError

# Okabe-Ito, distinguishable without colour vision; the context is grey
FINE_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442")
CONTEXT_COLOUR = "#999999"
CAPTION_PIXELS, BORDER_PIXELS = 16, 3


def class_strips(config: TrainConfig, scope: Scope, *, clips_per_class: int = 1, scale: int = 2) -> Image.Image:
    """Strips of the scope's labelled clips under the deterministic evaluation view.

    Args:
        config: sampling and views.
        scope: the clips.
        clips_per_class: strips a class.
        scale: enlargement of each frame.

    Returns:
        One picture; a row a clip, captioned with class and clip.

    Raises:
        DecodeError: a clip does not decode.
    """
    table = scope.labelled.groupby("label").head(clips_per_class).sort_values("label", kind="stable")
    store = FrameStore(Path(config.scope.root) / ".frames", max_short_side=config.views.short_side[1])
    reader = ClipReader(table, store, config.sampling)
    frames = config.sampling.frames_per_granularity
    colours = [
        c for g, t in enumerate(frames) for c in [_colour(g, len(frames))] * t
    ]  # one a frame, in the order of the view
    rows = []
    for row, (label, clip_id) in enumerate(zip(table.label, table.clip_id, strict=True)):
        crop = [evaluation_crop(config.views, 0.5)] * len(frames)
        view_TCHW = reader.view(row, crop, config.views.size)
        length = len(store.frames(table.path.iloc[row], table.start_frame.iloc[row], table.end_frame.iloc[row]))
        order = np.argsort(sample_frames(length, config.sampling), kind="stable")
        rows.append(_strip(view_TCHW[order], [colours[t] for t in order], scope.classes[label], str(clip_id), scale))
    width, height = max(r.width for r in rows), sum(r.height for r in rows)
    picture = Image.new("RGB", (width, height), "white")
    top = 0
    for strip in rows:
        picture.paste(strip, (0, top))
        top += strip.height
    return picture


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the picture cannot be written ({error}); give another path ending in .png") from error


def _colour(granularity: int, granularities: int) -> str:
    last = granularity == granularities - 1
    return CONTEXT_COLOUR if last else FINE_COLOURS[granularity % len(FINE_COLOURS)]


def _strip(view_TCHW: Tensor, colours: list[str], name: str, clip_id: str, scale: int) -> Image.Image:
    side = view_TCHW.shape[-1] * scale + 2 * BORDER_PIXELS
    strip = Image.new("RGB", (side * len(view_TCHW), side + CAPTION_PIXELS), "white")
    draw = ImageDraw.Draw(strip)
    caption = (
        unicodedata.normalize("NFKD", f"{name}   {clip_id}").encode("ascii", "ignore").decode()
    )  # the font's letters
    draw.text((2, 1), caption, fill="black", font=ImageFont.load_default(11))
    for t, (frame_CHW, colour) in enumerate(zip(view_TCHW, colours, strict=True)):
        frame = Image.fromarray(frame_CHW.permute(1, 2, 0).numpy())
        frame = frame.resize((frame.width * scale, frame.height * scale), Image.Resampling.BICUBIC)
        draw.rectangle((t * side, CAPTION_PIXELS, (t + 1) * side - 1, CAPTION_PIXELS + side - 1), fill=colour)
        strip.paste(frame, (t * side + BORDER_PIXELS, CAPTION_PIXELS + BORDER_PIXELS))
    return strip
