"""Spatial views: what of a frame the labelled, weak and strong clips show (METHOD.md §2).

Drawing and applying are apart: `draw_crops` decides with an explicit generator, `cut` takes the square that a crop
shows and `scale` brings it to size, on whatever device it is.

Shape suffixes: T frames, C channels, H, W pixels, B clips, G granularities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from sefar.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Spatial views.

    Attributes:
        size: side of the square crop fed to the model, pixels.
        short_side: range of the short-side jitter before the crop, pixels.
        flip: whether labelled and strong views may be mirrored; False for mirror-sensitive labels.
        channel_dropout: probability, per clip, granularity and colour channel, that the strong view loses the channel.
        shared_spatial: one crop and flip for all granularities of a view; False draws one each (release).
    """

    size: int = 224
    short_side: tuple[int, int] = (256, 320)
    flip: bool = True
    channel_dropout: float = 0.2
    shared_spatial: bool = True

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"views.size: expected an integer ≥ 1, got {self.size}")
        low, high = self.short_side
        if not self.size <= low <= high:
            raise ConfigError(
                f"views.short_side: expected size ≤ low ≤ high, got {self.short_side} with size {self.size}"
            )
        if not 0 <= self.channel_dropout < 1:
            raise ConfigError(f"views.channel_dropout: expected a probability in [0, 1), got {self.channel_dropout}")


@dataclass(frozen=True)
class Crop:
    """One spatial view: a square of the source frame, `side` of its short side long, mirrored or not.

    `top` and `left` are shares in [0, 1] of the room left; `side` is a share of the short side. A `position` stands for
    both: that share of the room along the longer side, the middle of the shorter one.
    """

    side: float
    top: float
    left: float
    flip: bool
    position: float | None = None


def draw_crops(config: ViewConfig, granularities: int, rng: np.random.Generator, *, flip: bool) -> list[Crop]:
    """Draw one crop per granularity, the same for all when `config.shared_spatial`."""
    crops = []
    for _ in range(1 if config.shared_spatial else granularities):
        low, high = config.short_side
        # cropping `size` out of a frame scaled to short side s shows size/s of the short side
        side = config.size / rng.uniform(low, high)
        crops.append(Crop(side, rng.random(), rng.random(), bool(rng.random() < 0.5) and flip and config.flip))
    return crops * granularities if config.shared_spatial else crops


def crop_draws(config: ViewConfig, granularities: int) -> int:
    """Numbers that `draw_crops` takes from its generator."""
    return 4 * (1 if config.shared_spatial else granularities)


def evaluation_crop(config: ViewConfig, position: float) -> Crop:
    """The deterministic crop of evaluation, `position` in [0, 1] along the long side (½: the centre)."""
    return Crop(2 * config.size / sum(config.short_side), 0.5, 0.5, False, position)


def apply_crop(frames_THWC: np.ndarray, crop: Crop, size: int) -> Tensor:
    """Cut and scale frames.

    Args:
        frames_THWC: uint8 source frames.
        crop: what to show.
        size: side of the result, pixels.

    Returns:
        uint8 (T, C, size, size).
    """
    return scale(torch.from_numpy(cut(np.ascontiguousarray(frames_THWC), crop)), size, flip=crop.flip)


def cut(frames_THWC: np.ndarray, crop: Crop) -> np.ndarray:
    """The square (T, side, side, C) that a crop shows, part of the source frames and not yet mirrored."""
    height, width = frames_THWC.shape[1:3]
    side = max(1, round(crop.side * min(height, width)))
    down, along = crop.top, crop.left
    if crop.position is not None:
        down, along = (crop.position, 0.5) if height > width else (0.5, crop.position)
    top, left = round(down * (height - side)), round(along * (width - side))
    return frames_THWC[:, top : top + side, left : left + side]


def scale(square_THWC: Tensor, size: int, *, flip: bool) -> Tensor:
    """Squares as a view, uint8 (T, C, size, size), on the device where they are; devices round differently by one."""
    out = square_THWC.permute(0, 3, 1, 2)
    side = out.shape[-1]
    if side != size:
        out = TF.resize(out, [size, size], antialias=side > size)
    return out.flip(-1) if flip else out


def drop_channels(
    frames_BTCHW: Tensor,
    frames_per_granularity: tuple[int, ...],
    p: float,
    generator: torch.Generator,
    *,
    part: tuple[Tensor, int] | None = None,
) -> Tensor:
    """Channel dropout of the strong view.

    Args:
        frames_BTCHW: normalised frames, granularity after granularity.
        frames_per_granularity: T_g.
        p: probability that a channel of a clip's granularity is zeroed; the others are scaled by 1 / (1 − p), as
            `torch.nn.Dropout3d` does.
        generator: CPU generator.
        part: positions (B,) of the clips in a larger batch, and its size; the draw is then the larger batch's.

    Returns:
        (B, T, C, H, W).
    """
    if p == 0:
        return frames_BTCHW
    channels = frames_BTCHW.shape[2]
    rows, batch = part if part is not None else (slice(None), len(frames_BTCHW))
    keep_BGC = torch.rand(batch, len(frames_per_granularity), channels, generator=generator)[rows] >= p
    keep_BGC = keep_BGC.float() / (1 - p)
    keep_BTC = keep_BGC.repeat_interleave(torch.tensor(frames_per_granularity), 1)
    return frames_BTCHW * keep_BTC.to(frames_BTCHW)[..., None, None]
