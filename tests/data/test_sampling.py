from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sefar.data.sampling import SamplingConfig, deal_slots, sample_frames
from sefar.errors import ConfigError

granularities = st.lists(st.integers(1, 6), min_size=1, max_size=5).map(tuple)


def test_paper_slots() -> None:
    assert deal_slots((2, 2, 4)) == [[3, 7], [1, 5], [0, 2, 4, 6]]


def test_slots_of_the_release(parity_dir: Path) -> None:
    for name, expected in json.loads((parity_dir / "slots.json").read_text()).items():
        dealt = deal_slots(tuple(int(t) for t in name.split("-")))
        if expected is None:
            assert [len(s) for s in dealt] == [int(t) for t in name.split("-")]
        else:
            assert dealt == expected, name


@given(
    frames=granularities, mode=st.sampled_from(["slots", "local"]), length=st.integers(1, 60), seed=st.integers(0, 9)
)
def test_any_clip_gives_ascending_frames_inside_it(frames: tuple[int, ...], mode: str, length: int, seed: int) -> None:
    config = SamplingConfig(frames_per_granularity=frames, mode=mode)
    for rng in (None, np.random.default_rng(seed)):
        index = sample_frames(length, config, rng)
        assert index.shape == (sum(frames),)
        assert index.min() >= 0
        assert index.max() < length
        start = 0
        for t in frames:
            assert (np.diff(index[start : start + t]) >= 0).all()
            start += t


def test_evaluation_takes_the_middle_of_each_slot() -> None:
    assert sample_frames(80, SamplingConfig()).tolist() == [35, 75, 15, 55, 5, 25, 45, 65]


def test_training_covers_each_slot_uniformly() -> None:
    rng = np.random.default_rng(0)
    draws = np.stack([sample_frames(32, SamplingConfig(), rng) for _ in range(2000)])
    context_first = np.bincount(draws[:, 4], minlength=32)
    assert context_first[:4].min() > 400  # slot 0 holds frames 0 to 3
    assert context_first[4:].sum() == 0


def test_local_windows_are_contiguous_and_in_their_part() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        index = sample_frames(40, SamplingConfig(frames_per_granularity=(3, 3, 4), mode="local"), rng)
        assert np.diff(index[:3]).tolist() == [1, 1]
        assert index[2] < 20 <= index[3]


def test_errors() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        sample_frames(0, SamplingConfig())
    with pytest.raises(ConfigError, match=r"\(2, 0\)"):
        SamplingConfig(frames_per_granularity=(2, 0))
    with pytest.raises(ConfigError, match="did you mean 'slots'"):
        SamplingConfig(mode="slot")
