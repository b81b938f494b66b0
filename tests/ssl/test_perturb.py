"""Every perturbation on clips whose frames are numbered."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sefar.errors import ConfigError
from sefar.ssl.perturb import KINDS, PerturbConfig, frame_index, perturb

FRAMES = (2, 2, 4)


def numbered(batch: int = 3, frames: tuple[int, ...] = FRAMES) -> Tensor:
    """Frame t of clip b is 10·b + t in channel 0, plus 100 and 200 in the others."""
    clip = (10 * torch.arange(batch)[:, None] + torch.arange(sum(frames)))[:, :, None, None, None]
    return (clip + 100 * torch.arange(3)[:, None, None]).expand(-1, -1, -1, 2, 2).clone()


def order(kind: str, frames: tuple[int, ...] = FRAMES, strength: float = 1.0, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    out = perturb(numbered(1, frames), frames, PerturbConfig(kind=kind, strength=strength), generator)
    return out[0, :, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("reverse_fine", [1, 0, 3, 2, 4, 5, 6, 7]),
        ("reverse_all", [1, 0, 3, 2, 7, 6, 5, 4]),
        ("half", [0, 0, 2, 2, 4, 5, 4, 5]),
        ("slow", [0, 0, 2, 2, 4, 4, 5, 5]),
    ],
)
def test_fixed_orders(kind: str, expected: list[int]) -> None:
    assert order(kind) == expected


@pytest.mark.parametrize("frames", [(2, 2, 4), (1, 3, 5), (8,), (4, 4)])
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "reverse_channels"])
def test_frames_stay_in_their_clip_and_channels_stay_put(kind: str, frames: tuple[int, ...]) -> None:
    clips = numbered(5, frames)
    out = perturb(clips, frames, PerturbConfig(kind=kind), torch.Generator().manual_seed(1))
    assert out.shape == clips.shape
    channel_0 = out[:, :, 0]
    assert torch.equal(out[:, :, 1], channel_0 + 100)
    assert torch.equal(out[:, :, 2], channel_0 + 200)
    assert torch.equal(channel_0[:, :, 0, 0] // 10, torch.arange(5)[:, None].expand(-1, sum(frames)))
    if kind not in ("reverse_all", "shuffle_all", "half", "slow", "warp", "drop"):
        context = sum(frames[:-1])
        assert torch.equal(out[:, context:], clips[:, context:])  # the temporal context is left alone


@pytest.mark.parametrize("kind", KINDS)
def test_strength_zero_is_none_bit_for_bit(kind: str) -> None:
    clips = torch.randn(4, 8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    out = perturb(clips, FRAMES, PerturbConfig(kind=kind, strength=0.0), torch.Generator().manual_seed(1))
    assert torch.equal(out, clips)


def test_shuffles_are_permutations_of_their_elements() -> None:
    for seed in range(20):
        assert sorted(order("shuffle_all", seed=seed)) == list(range(8))
        fine = order("shuffle_fine", seed=seed)
        assert (sorted(fine[:2]), sorted(fine[2:4]), fine[4:]) == ([0, 1], [2, 3], [4, 5, 6, 7])
    assert len({tuple(order("shuffle_all", seed=s)) for s in range(20)}) > 10


def test_drop_takes_the_predecessor_half_of_the_time() -> None:
    index = frame_index(PerturbConfig(kind="drop"), 4000, (4,), torch.Generator().manual_seed(0))
    assert index[:, 0].eq(0).all()  # the first frame has no predecessor
    replaced = (index[:, 1] == 0).float().mean()
    assert abs(replaced - 0.5) < 0.03
    assert (index[:, 1:] >= index[:, :-1]).all()
    weaker = frame_index(PerturbConfig(kind="drop", strength=0.5), 4000, (4,), torch.Generator().manual_seed(0))
    assert abs((weaker[:, 1] == 0).float().mean() - 0.25) < 0.03


def test_warp_keeps_half_and_fills_from_the_nearest() -> None:
    for seed in range(20):
        clip = order("warp", frames=(8,), seed=seed)
        kept = sorted(set(clip))
        assert len(kept) == 4
        nearest = [min(kept, key=lambda k, t=t: (abs(k - t), k)) for t in range(8)]  # type: ignore[misc]
        assert clip == nearest


def test_strength_is_a_probability_per_clip_and_element() -> None:
    index = frame_index(PerturbConfig(strength=0.3), 4000, FRAMES, torch.Generator().manual_seed(0))
    first, second = index[:, 0] == 1, index[:, 2] == 3
    assert abs(first.float().mean() - 0.3) < 0.03
    assert abs((first & second).float().mean() - 0.09) < 0.02


def test_released_reversal_flips_channels_not_time() -> None:
    out = perturb(numbered(1), FRAMES, PerturbConfig(kind="reverse_channels"), torch.Generator())
    assert out[0, 0, :, 0, 0].tolist() == [200, 100, 0]
    assert out[0, 4, :, 0, 0].tolist() == [4, 104, 204]


def test_bad_values_name_the_mend() -> None:
    with pytest.raises(ConfigError, match="did you mean 'reverse_fine'"):
        PerturbConfig(kind="reverse_fin")
    with pytest.raises(ConfigError, match=r"probability in \[0, 1\], got 1.5"):
        PerturbConfig(strength=1.5)
    with pytest.raises(ValueError, match="expected 8 frames"):
        perturb(numbered(1, (4,)), FRAMES, PerturbConfig(), torch.Generator())


def test_no_kind_draws_at_strength_0() -> None:
    for kind in KINDS:
        generator = torch.Generator().manual_seed(3)
        before = generator.get_state()
        frames = numbered(2)
        assert torch.equal(perturb(frames, FRAMES, PerturbConfig(kind=kind, strength=0), generator), frames)
        assert torch.equal(generator.get_state(), before), kind


@pytest.mark.parametrize("kind", KINDS)
def test_some_clips_are_perturbed_as_in_their_batch(kind: str) -> None:
    frames, rows, config = numbered(6), torch.tensor([1, 2, 5]), PerturbConfig(kind=kind, strength=0.6)
    whole, part = (torch.Generator().manual_seed(1) for _ in range(2))
    expected = perturb(frames, FRAMES, config, whole)[rows]
    assert torch.equal(perturb(frames[rows], FRAMES, config, part, part=(rows, 6)), expected)
    assert torch.equal(whole.get_state(), part.get_state())
