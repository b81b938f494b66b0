"""Which frames of a clip each granularity reads: dual-level temporal elements (paper §3.1, METHOD.md §1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sefar.errors import ConfigError, nearest

MODES = ("slots", "local")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How frames are drawn.

    Attributes:
        frames_per_granularity: frames T_g of each granularity; the last is the temporal context, the others are
            fine-grained elements.
        mode: ``slots`` (paper): the clip is cut into sum(T_g) equal slots that are dealt to the granularities;
            ``local``: each fine element is a short contiguous window inside its own part of the clip, the context spans
            the whole clip.
    """

    frames_per_granularity: tuple[int, ...] = (2, 2, 4)
    mode: str = "slots"

    def __post_init__(self) -> None:
        frames = self.frames_per_granularity
        if not frames or any(t < 1 for t in frames):
            raise ConfigError(f"sampling.frames_per_granularity: expected integers ≥ 1 such as (2, 2, 4), got {frames}")
        if self.mode not in MODES:
            raise ConfigError(f"sampling.mode: '{self.mode}' is unknown{nearest(self.mode, MODES)}")


def deal_slots(frames_per_granularity: tuple[int, ...]) -> list[list[int]]:
    """Deal the slots to the granularities, from the last to the first.

    Granularity g walks the free slots in order and takes slot j whenever j ≥ taken · (total / T_g). Where the rule runs
    out of free slots, the granularity takes the middle slot of each of T_g equal intervals, reuse allowed.

    Returns:
        The slots of each granularity, ascending, in the order of `frames_per_granularity`.
    """
    total = sum(frames_per_granularity)
    free = list(range(total))
    dealt: list[list[int]] = []
    for wanted in reversed(frames_per_granularity):
        taken: list[int] = []
        for slot in free:
            if len(taken) < wanted and slot >= len(taken) * (total / wanted):
                taken.append(slot)
        if len(taken) < wanted:
            taken = [int((k + 0.5) * total / wanted) for k in range(wanted)]
        free = [slot for slot in free if slot not in taken]
        dealt.append(taken)
    return dealt[::-1]


def sample_frames(
    num_frames: int, config: SamplingConfig, rng: np.random.Generator | None = None, *, offset: float = 0.5
) -> np.ndarray:
    """Draw the frame indices of one view.

    Args:
        num_frames: frames of the clip, ≥ 1. Fewer than slots is legal: frames repeat.
        config: granularities and mode.
        rng: draws uniformly within each slot (training); None is deterministic (evaluation).
        offset: with no `rng`, where in its slot the frame lies, in [0, 1); ½ is the middle.

    Returns:
        int64 (T,), T = sum of frames_per_granularity: indices in [0, num_frames), granularity after granularity,
        the context last, ascending within each.

    Raises:
        ValueError: the clip has no frame.
    """
    if num_frames < 1:
        raise ValueError(f"sample_frames: a clip needs at least one frame, got {num_frames}")
    if config.mode == "local":
        return _sample_local(num_frames, config.frames_per_granularity, rng, offset)
    slots = np.concatenate(deal_slots(config.frames_per_granularity))
    return _within(slots, num_frames / sum(config.frames_per_granularity), num_frames, rng, offset)


def frame_draws(config: SamplingConfig) -> int:
    """Numbers that `sample_frames` takes from its generator, whatever the clip."""
    *fine, context = config.frames_per_granularity
    return len(fine) + context if config.mode == "local" else sum(config.frames_per_granularity)


def _within(
    slot: np.ndarray, slot_frames: float, num_frames: int, rng: np.random.Generator | None, offset: float
) -> np.ndarray:
    """One frame index inside each slot of `slot_frames` frames."""
    position = rng.random(len(slot)) if rng is not None else np.full(len(slot), offset)
    return np.minimum(((slot + position) * slot_frames).astype(np.int64), num_frames - 1)


def _sample_local(
    num_frames: int, frames: tuple[int, ...], rng: np.random.Generator | None, offset: float
) -> np.ndarray:
    """Contiguous windows for the fine elements, each in its own equal part of the clip; the context spans all."""
    fine, context = frames[:-1], frames[-1]
    parts = []
    for part, length in enumerate(fine):
        start, end = num_frames * part / len(fine), num_frames * (part + 1) / len(fine)
        room = max(0.0, end - start - length)
        first = int(start + room * (rng.random() if rng is not None else offset))
        parts.append(np.minimum(first + np.arange(length), num_frames - 1))
    parts.append(_within(np.arange(context), num_frames / context, num_frames, rng, offset))
    return np.concatenate(parts).astype(np.int64)
