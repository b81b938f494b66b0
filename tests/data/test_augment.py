from __future__ import annotations

import numpy as np
import pytest
import torch

from sefar.data.augment import Crop, ViewConfig, apply_crop, draw_crops, drop_channels, evaluation_crop
from sefar.errors import ConfigError

VIEWS = ViewConfig(size=8, short_side=(10, 16))


def numbered(height: int, width: int) -> np.ndarray:
    """One frame; red is a pixel's row, green its column, blue 7."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, np.full_like(rows, 7)], -1)[None]


def region(view_TCHW: torch.Tensor) -> tuple[list[int], list[int]]:
    """The source rows and columns that a view of `numbered` shows."""
    return view_TCHW[0, 0, :, 0].tolist(), view_TCHW[0, 1, 0].tolist()


# Cutting


def test_a_crop_shows_the_region_it_names() -> None:
    frames = numbered(16, 24)  # a side of 8 leaves 8 rows and 16 columns of room
    view = apply_crop(frames, Crop(side=0.5, top=0.25, left=0.75, flip=False), 8)
    assert (view.shape, view.dtype) == ((1, 3, 8, 8), torch.uint8)
    assert region(view) == (list(range(2, 10)), list(range(12, 20)))
    assert (view[0, 2] == 7).all()


def test_corners() -> None:
    frames = numbered(16, 24)
    for top, left, rows, columns in ((0, 0, 0, 0), (1, 0, 8, 0), (0, 1, 0, 16), (1, 1, 8, 16)):
        view = apply_crop(frames, Crop(0.5, top, left, False), 8)
        assert region(view) == (list(range(rows, rows + 8)), list(range(columns, columns + 8)))


def test_a_flip_mirrors_columns_and_nothing_else() -> None:
    frames = np.concatenate([numbered(16, 24), numbered(16, 24)[:, ::-1]])
    plain, mirrored = (apply_crop(frames, Crop(0.5, 0.25, 0.75, flip), 8) for flip in (False, True))
    assert torch.equal(mirrored, plain.flip(-1))
    assert region(mirrored) == (list(range(2, 10)), list(range(19, 11, -1)))


def test_scaling_keeps_the_region() -> None:
    rows, columns = np.mgrid[:64, :96]
    frames = np.stack([4 * rows, 2 * columns, 0 * rows], -1).astype(np.uint8)[None]
    view = apply_crop(frames, Crop(0.5, 0.5, 0.5, False), 16)  # rows 16 to 47, columns 32 to 63
    for channel, values in ((0, 4 * np.arange(16, 48)), (1, 2 * np.arange(32, 64))):
        line = view[0, channel, :, 0] if channel == 0 else view[0, channel, 0]
        inner = values.reshape(16, 2).mean(1)[2:-2]  # two pixels become one
        np.testing.assert_allclose(line[2:-2].numpy(), inner, atol=1.5)


def test_a_frame_smaller_than_the_view_is_enlarged() -> None:
    view = apply_crop(np.full((2, 5, 7, 3), 40, np.uint8), Crop(0.8, 0.5, 0.5, True), 16)
    assert view.shape == (2, 3, 16, 16)
    assert (view == 40).all()


def test_source_frames_stay_as_they_are() -> None:
    frames = numbered(16, 24)
    before = frames.copy()
    apply_crop(frames, Crop(0.5, 0.5, 0.5, True), 8).zero_()
    np.testing.assert_array_equal(frames, before)


# Evaluation


def test_evaluation_crops_walk_the_long_side() -> None:
    assert evaluation_crop(VIEWS, 0.5) == Crop(8 / 13, 0.5, 0.5, False, position=0.5)
    config = ViewConfig(size=8, short_side=(16, 16))
    for position, first in ((0.0, 0), (0.5, 8), (1.0, 16)):
        crop = evaluation_crop(config, position)
        along = list(range(first, first + 8))
        assert region(apply_crop(numbered(16, 24), crop, 8)) == (list(range(4, 12)), along)
        assert region(apply_crop(numbered(24, 16), crop, 8)) == (along, list(range(4, 12)))


# Drawing


def test_one_crop_for_all_granularities_or_one_each() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        shared = draw_crops(VIEWS, 3, rng, flip=True)
        assert len(shared) == 3
        assert len(set(shared)) == 1
    own = draw_crops(ViewConfig(size=8, short_side=(10, 16), shared_spatial=False), 3, rng, flip=True)
    assert len(set(own)) == 3


@pytest.mark.parametrize("shared", [True, False])
def test_crops_lie_in_the_ranges_of_the_jitter(shared: bool) -> None:
    config = ViewConfig(size=8, short_side=(10, 16), shared_spatial=shared)
    rng = np.random.default_rng(0)
    crops = [crop for _ in range(600) for crop in draw_crops(config, 1, rng, flip=True)]
    sides = np.array([crop.side for crop in crops])
    assert sides.min() >= 8 / 16 and sides.max() <= 8 / 10
    assert sides.min() < 0.51 and sides.max() > 0.79
    places = np.array([(crop.top, crop.left) for crop in crops])
    assert places.min() >= 0 and places.max() < 1
    np.testing.assert_allclose(places.mean(0), 0.5, atol=0.05)
    assert 240 < sum(crop.flip for crop in crops) < 360


def test_flips_are_drawn_only_where_allowed() -> None:
    still = ViewConfig(size=8, short_side=(10, 16), flip=False)
    for config, flip in ((VIEWS, False), (still, True), (still, False)):
        rng = np.random.default_rng(0)
        assert not any(draw_crops(config, 1, rng, flip=flip)[0].flip for _ in range(50))
    # forbidding the flip leaves the other draws alone
    drawn = [draw_crops(VIEWS, 1, np.random.default_rng(3), flip=flip)[0] for flip in (True, False)]
    assert drawn[0].side == drawn[1].side and drawn[0].left == drawn[1].left


# Channel dropout


def test_channel_dropout_by_clip_and_granularity() -> None:
    frames = torch.ones(400, 8, 3, 2, 2)
    dropped = drop_channels(frames, (2, 2, 4), 0.25, torch.Generator().manual_seed(0))
    assert dropped.shape == frames.shape
    kept = dropped > 0
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 4 / 3))
    # 400 clips × 3 granularities × 3 channels: four standard deviations are 0.03
    assert abs(1 - kept.float().mean().item() - 0.25) < 0.03
    assert abs(dropped.mean().item() - 1) < 0.04
    by_frame = kept[..., 0, 0]
    assert torch.equal(kept, by_frame[..., None, None].expand_as(kept))  # whole channels
    for start, end in ((0, 2), (2, 4), (4, 8)):
        part = by_frame[:, start:end]
        assert torch.equal(part, part[:, :1].expand_as(part))  # the same for a granularity's frames
    for a, b in ((0, 2), (2, 4)):
        assert 0.2 < (by_frame[:, a] != by_frame[:, b]).float().mean() < 0.55  # 2 · ¼ · ¾ = 0.375
    assert (by_frame[:-1, 0] != by_frame[1:, 0]).any()


def test_channel_dropout_of_nothing_is_the_identity() -> None:
    frames = torch.rand(2, 3, 3, 4, 4)
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert drop_channels(frames, (1, 2), 0.0, generator) is frames
    assert torch.equal(generator.get_state(), state)


def test_channel_dropout_follows_its_generator() -> None:
    frames = torch.rand(4, 3, 3, 2, 2)
    first, again, other = (drop_channels(frames, (1, 2), 0.5, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    half = drop_channels(frames.half(), (1, 2), 0.5, torch.Generator().manual_seed(1))
    assert half.dtype == torch.float16


# Errors


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 64, "short_side": (60, 80)}, r"expected size ≤ low ≤ high, got \(60, 80\) with size 64"),
        ({"size": 64, "short_side": (90, 80)}, r"got \(90, 80\)"),
        ({"channel_dropout": 1.0}, r"expected a probability in \[0, 1\), got 1.0"),
        ({"channel_dropout": -0.1}, r"got -0.1"),
    ],
)
def test_wrong_configurations(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ViewConfig(**fields)


def test_only_a_position_moves_along_the_longer_side() -> None:
    tall = numbered(24, 16)
    rows, columns = region(apply_crop(tall, Crop(0.5, 0.5, 0.25, False), 8))  # a drawn `top` of ½ is no position
    assert (rows[0], columns[0]) == (8, 2)
    rows, columns = region(apply_crop(tall, Crop(0.5, 0.1, 0.9, False, position=0.25), 8))
    assert (rows[0], columns[0]) == (4, 4)


def test_a_view_has_a_size() -> None:
    with pytest.raises(ConfigError, match=r"^views\.size: expected an integer ≥ 1, got 0$"):
        ViewConfig(size=0, short_side=(0, 0))


def test_channel_dropout_of_some_clips_is_that_of_their_batch() -> None:
    frames = torch.rand(6, 3, 3, 2, 2)
    rows = torch.tensor([1, 2, 5])
    whole, part = (torch.Generator().manual_seed(1) for _ in range(2))
    expected = drop_channels(frames, (1, 2), 0.5, whole)[rows]
    assert torch.equal(drop_channels(frames[rows], (1, 2), 0.5, part, part=(rows, 6)), expected)
    assert torch.equal(whole.get_state(), part.get_state())
