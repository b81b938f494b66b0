"""Readers of the frames of clips, timed by the processor time they take."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from sefar.data.augment import ViewConfig
from sefar.data.decode import decode_clip
from sefar.data.sampling import SamplingConfig, sample_frames

VIEWS, SAMPLING = ViewConfig(), SamplingConfig()
SHORT_SIDE = VIEWS.short_side[1]
CORE = "clip, processor time"
Read = Callable[[str, np.ndarray], object]
"""Reads frames, by number, of a clip."""


def timed(ways: dict[str, Read], clips: list[str], repeats: int) -> dict[str, list[float]]:
    """Processor seconds a clip of each way, a value a repeat: what it would take on a core that does nothing else.

    All ways read the same frames of a clip, one after the other, from files in memory, on one core, as a loader's
    worker has.
    """
    rng, seconds = np.random.default_rng(0), {way: [0.0] * repeats for way in ways}
    lengths = {clip: len(decode_clip(clip)) for clip in clips}
    for repeat in range(-1, repeats):  # the first is for loading libraries
        for clip in clips:
            numbers = sample_frames(lengths[clip], SAMPLING, rng)
            for way, read in ways.items():
                started = time.process_time()
                read(clip, numbers)
                if repeat >= 0:
                    seconds[way][repeat] += (time.process_time() - started) / len(clips)
    return seconds
