"""Moderate temporal perturbation, the strong augmentation of SeFAR (paper §3.2; METHOD.md table of kinds).

A view is one tensor ``frames_BTCHW`` holding the frames of all granularities one after another: the fine elements
first, the temporal context last. A perturbation only rearranges frames, so each kind is an index map along T.

Shape suffixes: B clips, T frames of all granularities together, G granularities, C channels, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sefar.errors import ConfigError, nearest

Granularities = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PerturbConfig:
    """Which frames of the strong view change places, and how often.

    Attributes:
        kind: one of `KINDS`.
        strength: probability in [0, 1], drawn per clip and element, that the perturbation applies
            (`drop`: scales the probability ½ with which a frame is replaced). 0 equals ``none`` bit for bit.
    """

    kind: str = "reverse_fine"
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"perturb.kind: '{self.kind}' is unknown{nearest(self.kind, KINDS)}")
        if not 0 <= self.strength <= 1:
            raise ConfigError(f"perturb.strength: expected a probability in [0, 1], got {self.strength}")


def _spans(frames: Granularities) -> list[tuple[int, int]]:
    """First and one-past-last position of each granularity along T."""
    ends = torch.tensor(frames).cumsum(0).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _rand(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator)


def _per_element(
    batch: int,
    frames: Granularities,
    elements: range,
    strength: float,
    generator: torch.Generator,
    permute: Callable[[int, int], Tensor],
) -> Tensor:
    """Index map (B, T): `permute(B, T_g)` inside each element of `elements`, each clip with probability `strength`."""
    index_BT = torch.arange(sum(frames)).expand(batch, -1).clone()
    for g, (start, end) in enumerate(_spans(frames)):
        if g in elements:
            apply_B1 = _rand((batch, 1), generator) < strength
            moved_BT = start + permute(batch, end - start)
            index_BT[:, start:end] = torch.where(apply_B1, moved_BT, index_BT[:, start:end])
    return index_BT


def _whole_clip(
    batch: int,
    frames: Granularities,
    strength: float,
    generator: torch.Generator,
    permute: Callable[[int, int], Tensor],
) -> Tensor:
    """As `_per_element`, with the frames of all granularities as one element."""
    total = sum(frames)
    return _per_element(batch, (total,), range(1), strength, generator, permute)


def _reversed(batch: int, frames: int) -> Tensor:
    return torch.arange(frames - 1, -1, -1).expand(batch, -1)


def _shuffled(generator: torch.Generator) -> Callable[[int, int], Tensor]:
    return lambda batch, frames: _rand((batch, frames), generator).argsort(1)


def _slowed(batch: int, frames: int) -> Tensor:
    # ⌈T/2⌉ frames, each twice: an odd T shows its middle frame once
    return (torch.arange(frames) // 2).expand(batch, -1)


def _halved(batch: int, frames: int) -> Tensor:
    half = frames // 2
    index = torch.arange(frames)
    index[frames - half :] = torch.arange(half)
    return index.expand(batch, -1)


def _warped(generator: torch.Generator) -> Callable[[int, int], Tensor]:
    def permute(batch: int, frames: int) -> Tensor:
        kept_BT = _rand((batch, frames), generator).argsort(1) < max(1, frames // 2)
        distance_TT = (torch.arange(frames)[:, None] - torch.arange(frames)[None, :]).abs()
        # a tie goes to the earlier frame: argmin returns the first of equal minima
        return distance_TT.expand(batch, -1, -1).masked_fill(~kept_BT[:, None, :], 2 * frames).argmin(2)

    return permute


def _dropped(batch: int, frames: Granularities, strength: float, generator: torch.Generator) -> Tensor:
    """T-Drop: within each granularity a frame is replaced by its predecessor's content with probability ½·strength."""
    index_BT = torch.arange(sum(frames)).expand(batch, -1).clone()
    drop_BT = _rand((batch, sum(frames)), generator) < 0.5 * strength
    for start, end in _spans(frames):
        for t in range(start + 1, end):
            index_BT[:, t] = torch.where(drop_BT[:, t], index_BT[:, t - 1], index_BT[:, t])
    return index_BT


KINDS = (
    "reverse_fine",
    "none",
    "drop",
    "slow",
    "shuffle_all",
    "shuffle_fine",
    "warp",
    "half",
    "reverse_all",
    "reverse_channels",
)
"""The nine kinds of METHOD.md §3, and ``reverse_channels``, what the released code does instead of ``reverse_fine``."""


def frame_index(config: PerturbConfig, batch: int, frames: Granularities, generator: torch.Generator) -> Tensor:
    """Draw which frame stands at each position of the strong view.

    Args:
        config: kind and strength.
        batch: number of clips B.
        frames: frames per granularity, the temporal context last.
        generator: CPU generator; the only source of randomness.

    Returns:
        int64 (B, T) with T = sum(frames): position t shows frame ``index[b, t]``.
    """
    kind, strength = config.kind, config.strength
    fine, every = range(len(frames) - 1), range(len(frames))
    if strength == 0 or kind in ("none", "reverse_channels"):
        return torch.arange(sum(frames)).expand(batch, -1)
    if kind == "drop":
        return _dropped(batch, frames, strength, generator)
    if kind == "shuffle_all":
        return _whole_clip(batch, frames, strength, generator, _shuffled(generator))
    if kind in ("reverse_fine", "shuffle_fine"):
        permute = _reversed if kind == "reverse_fine" else _shuffled(generator)
        return _per_element(batch, frames, fine, strength, generator, permute)
    permute = {"reverse_all": _reversed, "slow": _slowed, "half": _halved, "warp": _warped(generator)}[kind]
    return _per_element(batch, frames, every, strength, generator, permute)


def perturb(
    frames_BTCHW: Tensor,
    frames: Granularities,
    config: PerturbConfig,
    generator: torch.Generator,
    *,
    part: tuple[Tensor, int] | None = None,
) -> Tensor:
    """Apply the temporal perturbation to a strong view.

    Args:
        frames_BTCHW: all granularities' frames, one granularity after another, context last; any dtype and device.
        frames: frames per granularity; their sum is T.
        config: kind and strength.
        generator: CPU generator; the only source of randomness.
        part: positions (B,) of the clips in a larger batch, and its size; the draw is then the larger batch's.

    Returns:
        (B, T, C, H, W); colour channels are untouched, except by ``reverse_channels`` (release, METHOD.md §6 row 1),
        which flips the channels of the fine elements and leaves time alone.

    Raises:
        ValueError: T is not the sum of `frames`.
    """
    clips, total = frames_BTCHW.shape[:2]
    rows, batch = part if part is not None else (slice(None), clips)
    if total != sum(frames):
        raise ValueError(f"perturb: expected {sum(frames)} frames for granularities {frames}, got {total}")
    if config.kind == "reverse_channels" and config.strength > 0:  # at 0 nothing is drawn, as in `frame_index`
        fine = sum(frames[:-1])
        apply_B = (_rand((batch,), generator) < config.strength)[rows]
        apply = apply_B.to(frames_BTCHW.device)[:, None, None, None, None]
        flipped = torch.where(apply, frames_BTCHW[:, :fine].flip(2), frames_BTCHW[:, :fine])
        return torch.cat([flipped, frames_BTCHW[:, fine:]], 1)
    index_BT = frame_index(config, batch, frames, generator)[rows].to(frames_BTCHW.device)
    return frames_BTCHW[torch.arange(clips, device=frames_BTCHW.device)[:, None], index_BT]
