from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sefar.data.augment import Crop, ViewConfig, draw_crops
from sefar.data.batch import Batch, Share, Squares
from sefar.data.loaders import BatchSource, ClipReader, LoaderConfig, cycled, open_store
from sefar.data.sampling import SamplingConfig, sample_frames
from sefar.errors import ConfigError, DecodeError

FRAMES = 24
VIEWS = ViewConfig(size=8, short_side=(10, 16))


class NumberedFrames:
    """In place of the frame store: red is a pixel's row, green its column, blue 10 · clip + 100 for frames from 16 on.

    A flip is seen in the columns, the clip and the half of it in blue.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []

    def frames(self, path: str, start_frame: int, end_frame: int) -> np.ndarray:
        self.asked.append((path, start_frame, end_frame))
        if path == "bad":
            raise DecodeError("bad: does not decode")
        rows, columns = np.mgrid[:16, :20].astype(np.uint8)
        frame = np.stack([rows, columns, np.full_like(rows, 10 * int(path))], -1)
        frames = np.repeat(frame[None], FRAMES, 0)
        frames[16:, ..., 2] += 100
        return frames


def table(count: int, first: int = 0) -> pd.DataFrame:
    numbers = range(first, first + count)
    return pd.DataFrame(
        {
            "clip_id": [f"clip{n}" for n in numbers],
            "path": [str(n) for n in numbers],
            "label": [n % 4 for n in numbers],
            "start_frame": 3,
            "end_frame": 27,
        }
    )


def make_source(*, labelled: int = 5, unlabelled: int = 7, seed: int = 0, **fields: Any) -> BatchSource:
    settings: dict[str, Any] = {"views": VIEWS, "sampling": SamplingConfig(), "store": NumberedFrames(), "seed": seed}
    settings["loader"] = LoaderConfig(labelled=2, unlabelled_ratio=2)
    return BatchSource(table(labelled), table(unlabelled, 5), **settings | fields)


def same(a: Batch, b: Batch) -> bool:
    return all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
        for x, y in zip(vars(a).values(), vars(b).values(), strict=True)
    )


def flipped(view_NTCHW: torch.Tensor) -> torch.Tensor:
    """Whether the columns of each frame run backwards, bool (N, T)."""
    columns = view_NTCHW[:, :, 1, 0].int()
    return columns[..., -1] < columns[..., 0]


def test_shapes_and_contents() -> None:
    batch = make_source().batch(0, with_unlabelled=True)
    assert batch.labelled_LTCHW.shape == (2, 8, 3, 8, 8)
    assert batch.weak_BTCHW is not None and batch.strong_BTCHW is not None and batch.hidden_label_B is not None
    assert batch.weak_BTCHW.shape == batch.strong_BTCHW.shape == (4, 8, 3, 8, 8)
    assert batch.labelled_LTCHW.dtype == batch.strong_BTCHW.dtype == torch.uint8
    numbers = [int(clip.removeprefix("clip")) for clip in batch.clip_ids]
    assert batch.label_L.tolist() == [n % 4 for n in numbers[:2]]
    assert batch.hidden_label_B.tolist() == [n % 4 for n in numbers[2:]]
    assert max(numbers[:2]) < 5 <= min(numbers[2:])
    for views, clips in ((batch.labelled_LTCHW, numbers[:2]), (batch.weak_BTCHW, numbers[2:])):
        assert (views[:, 0, 2, 0, 0] % 100).tolist() == [10 * n % 100 for n in clips]
    assert torch.equal(batch.weak_BTCHW[:, 0, 2, 0, 0] % 100, batch.strong_BTCHW[:, 0, 2, 0, 0] % 100)
    assert not torch.equal(batch.weak_BTCHW, batch.strong_BTCHW)


@pytest.mark.parametrize("mode", ["slots", "local"])
@pytest.mark.parametrize("on_device", [False, True])
def test_a_share_is_rows_of_the_whole_batch_and_nothing_else_is_read(mode: str, on_device: bool) -> None:
    share = Share(np.array([1]), np.array([2, 3]), np.array([0, 2, 3]))
    fields: dict[str, Any] = {"sampling": SamplingConfig(mode=mode), "scale_on_device": on_device}
    whole = make_source(**fields).batch(5, with_unlabelled=True).to(torch.device("cpu"))
    source = make_source(share=lambda number: share if number == 5 else None, **fields)
    part = source.batch(5, with_unlabelled=True).to(torch.device("cpu"))
    assert part.share is share and part.clip_ids == whole.clip_ids and torch.equal(part.label_L, whole.label_L)
    assert whole.weak_BTCHW is not None and part.weak_BTCHW is not None
    assert whole.strong_BTCHW is not None and part.strong_BTCHW is not None
    assert torch.equal(part.labelled_LTCHW, whole.labelled_LTCHW[[1]])
    assert torch.equal(part.weak_BTCHW, whole.weak_BTCHW[[2, 3]])
    assert torch.equal(part.strong_BTCHW, whole.strong_BTCHW[[0, 2, 3]])
    numbers = [clip.removeprefix("clip") for clip in whole.clip_ids]
    asked = [path for path, _, _ in source.unlabelled.store.asked]  # type: ignore[attr-defined]
    assert asked == [numbers[n] for n in (1, 4, 5, 2, 4, 5)]


def test_a_batch_is_a_function_of_seed_and_number() -> None:
    source = make_source()
    first = [source.batch(n, with_unlabelled=True) for n in range(6)]
    backwards = [make_source().batch(n, with_unlabelled=True) for n in reversed(range(6))]
    assert all(same(a, b) for a, b in zip(first, reversed(backwards), strict=True))
    assert not same(first[0], first[1])
    assert not same(first[0], make_source(seed=1).batch(0, with_unlabelled=True))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_change_nothing(workers: int) -> None:
    loader = LoaderConfig(labelled=2, unlabelled_ratio=2, workers=workers)
    alone = make_source(loader=LoaderConfig(labelled=2, unlabelled_ratio=2, workers=0))
    expected = list(alone.batches(range(3, 12), with_unlabelled=True))
    got = list(make_source(loader=loader).batches(range(3, 12), with_unlabelled=True))
    assert len(got) == 9
    assert all(same(a, b) for a, b in zip(expected, got, strict=True))
    assert same(expected[0], alone.batch(3, with_unlabelled=True))


def test_labelled_clips_are_the_same_with_and_without_unlabelled_ones() -> None:
    for number in range(4):
        both, alone = (make_source().batch(number, with_unlabelled=w) for w in (True, False))
        assert torch.equal(both.labelled_LTCHW, alone.labelled_LTCHW)
        assert torch.equal(both.label_L, alone.label_L)
        assert both.clip_ids[:2] == alone.clip_ids
        assert (alone.weak_BTCHW, alone.strong_BTCHW, alone.hidden_label_B) == (None, None, None)
    store = NumberedFrames()
    make_source(store=store).batch(0, with_unlabelled=False)
    assert all(int(path) < 5 for path, _, _ in store.asked)


def test_each_clip_comes_once_in_a_cycle() -> None:
    source = make_source(labelled=6, unlabelled=8)
    batches = [source.batch(n, with_unlabelled=True) for n in range(12)]
    labelled = [clip for batch in batches for clip in batch.clip_ids[:2]]
    for start in range(0, 24, 6):
        assert sorted(labelled[start : start + 6]) == sorted(table(6).clip_id)
    unlabelled = [clip for batch in batches for clip in batch.clip_ids[2:]]
    for start in range(0, 48, 8):
        assert sorted(unlabelled[start : start + 8]) == sorted(table(8, 5).clip_id)


def test_weak_views_are_never_mirrored() -> None:
    weak, strong, labelled = [], [], []
    source = make_source()
    for number in range(30):
        batch = source.batch(number, with_unlabelled=True)
        assert batch.weak_BTCHW is not None and batch.strong_BTCHW is not None
        weak.append(flipped(batch.weak_BTCHW))
        strong.append(flipped(batch.strong_BTCHW))
        labelled.append(flipped(batch.labelled_LTCHW))
    assert not torch.cat(weak).any()
    for views in (torch.cat(strong), torch.cat(labelled)):
        assert 0.25 < views.float().mean() < 0.75
        assert torch.equal(views, views[:, :1].expand_as(views))  # a clip is mirrored whole
    still = make_source(views=ViewConfig(size=8, short_side=(10, 16), flip=False))
    for number in range(10):
        batch = still.batch(number, with_unlabelled=True)
        assert batch.strong_BTCHW is not None
        assert not flipped(batch.strong_BTCHW).any() and not flipped(batch.labelled_LTCHW).any()


@pytest.mark.parametrize("size", [6, 8, 14])
@pytest.mark.parametrize("shared", [True, False])
def test_views_scaled_on_the_device_are_those_scaled_by_the_workers(shared: bool, size: int) -> None:
    views = ViewConfig(size=size, short_side=(size, 2 * size), shared_spatial=shared)  # smaller and larger than 16 × 20
    for with_unlabelled in (False, True):
        expected = make_source(views=views).batch(3, with_unlabelled=with_unlabelled)
        batch = make_source(views=views, scale_on_device=True).batch(3, with_unlabelled=with_unlabelled)
        assert isinstance(batch.labelled_LTCHW, Squares)
        assert all(square.dtype == torch.uint8 for square in batch.labelled_LTCHW.squares)
        assert same(batch.to(torch.device("cpu")), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_rounds_differently_by_one_at_most() -> None:
    expected = make_source().batch(3, with_unlabelled=True)
    batch = make_source(scale_on_device=True).batch(3, with_unlabelled=True)
    assert all(square.is_pinned() for square in batch.labelled_LTCHW.squares)
    moved = batch.to(torch.device("cuda"))
    for name in ("labelled_LTCHW", "weak_BTCHW", "strong_BTCHW"):
        assert getattr(moved, name).is_cuda
        assert (getattr(moved, name).cpu().int() - getattr(expected, name).int()).abs().max() <= 1


@pytest.mark.parametrize("shared", [True, False])
def test_granularities_share_a_crop_unless_told_otherwise(shared: bool) -> None:
    views = ViewConfig(size=8, short_side=(10, 16), shared_spatial=shared)
    batch = make_source(views=views).batch(0, with_unlabelled=True)
    assert batch.strong_BTCHW is not None
    place = batch.strong_BTCHW[:, :, :2].flatten(2)  # rows and columns tell the crop of each frame
    granularities = (slice(0, 2), slice(2, 4), slice(4, 8))
    for g in granularities:
        assert torch.equal(place[:, g], place[:, g.start : g.start + 1].expand_as(place[:, g]))
    alike = [torch.equal(place[:, 0], place[:, g.start]) for g in granularities[1:]]
    assert alike == [shared, shared]


def test_frames_are_those_that_sampling_names() -> None:
    """Granularities with crops of their own read the same frames as with a shared one."""
    reader = ClipReader(table(1), NumberedFrames(), SamplingConfig())  # type: ignore[arg-type]
    index = sample_frames(FRAMES, SamplingConfig(), offset=0.5)
    late = torch.from_numpy(100 * (index >= 16)).to(torch.uint8)
    one, each = [Crop(0.5, 0, 0, False)] * 3, [Crop(0.5, 0, x, False) for x in (0, 0.5, 1)]
    for crops in (one, each):
        view = reader.view(0, crops, 8)
        assert torch.equal(view[:, 2, 0, 0], late)
    assert reader.view(0, each, 8)[:, 1, 0, 0].tolist() == [0, 0, 6, 6, 12, 12, 12, 12]


def test_readers_ask_for_the_clips_window() -> None:
    store = NumberedFrames()
    reader = ClipReader(table(3), store, SamplingConfig())  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    reader.view(2, draw_crops(VIEWS, 3, rng, flip=False), 8, rng)
    assert store.asked == [("2", 3, 27)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_clip_that_does_not_decode_stops_the_batches(workers: int) -> None:
    loader = LoaderConfig(labelled=2, unlabelled_ratio=2, workers=workers)
    clips = table(4).assign(path=["0", "bad", "2", "3"])
    source = BatchSource(
        clips, table(4), store=NumberedFrames(), loader=loader, sampling=SamplingConfig(), views=VIEWS, seed=0  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(DecodeError, match="bad: does not decode"):
        list(source.batches(range(4), with_unlabelled=False))


def loader_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("loader")}


def test_leaving_early_stops_the_workers_and_closing_ends_them() -> None:
    store = NumberedFrames()
    source = make_source(store=store, loader=LoaderConfig(labelled=2, unlabelled_ratio=2, workers=3))
    batches = source.batches(range(100), with_unlabelled=True)
    next(batches)
    batches.close()
    asked = len(store.asked)
    workers = loader_threads()
    assert workers
    list(source.batches(range(4), with_unlabelled=False))
    assert loader_threads() == workers  # they live as long as the source
    assert asked < 100 and len(store.asked) == asked + 8  # nothing was read for the batches left behind
    source.close()
    assert not loader_threads()


# The endless stream


@given(length=st.integers(1, 12), start=st.integers(0, 60), count=st.integers(1, 30), seed=st.integers(0, 3))
def test_the_stream_is_the_same_from_wherever_it_is_read(length: int, start: int, count: int, seed: int) -> None:
    whole = cycled(length, 0, start + count, seed)
    assert cycled(length, start, count, seed).tolist() == whole[start:].tolist()
    for first in range(0, len(whole) - length + 1, length):
        assert sorted(whole[first : first + length]) == list(range(length))


def test_cycles_and_seeds_differ() -> None:
    stream = cycled(20, 0, 60, 0).reshape(3, 20)
    assert len({tuple(cycle) for cycle in stream}) == 3
    assert cycled(20, 0, 20, 1).tolist() != stream[0].tolist()
    assert cycled(1, 5, 3, 0).tolist() == [0, 0, 0]


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"loader\.labelled: expected an integer ≥ 1, got 0"):
        LoaderConfig(labelled=0)
    with pytest.raises(ConfigError, match=r"loader\.unlabelled_ratio: expected an integer ≥ 1"):
        LoaderConfig(unlabelled_ratio=0)
    with pytest.raises(ConfigError, match=r"loader\.workers: expected an integer ≥ 0, got -1"):
        LoaderConfig(workers=-1)
    with pytest.raises(ConfigError, match=r"loader\.frame_store: 'jpg' is unknown — did you mean 'jpeg'"):
        LoaderConfig(frame_store="jpg")
    with pytest.raises(ConfigError, match=r"loader\.frame_store_gb: expected a number ≥ 0, got -1"):
        LoaderConfig(frame_store_gb=-1)
    assert LoaderConfig(labelled=5, unlabelled_ratio=3).unlabelled == 15


def test_the_store_of_a_configuration(tmp_path: Path) -> None:
    store = open_store(LoaderConfig(), VIEWS, "data")
    assert (store.root, store.max_short_side, store.encoding) == (Path("data/.frames"), 16, "raw")
    assert store.budget.limit_bytes is None
    loader = LoaderConfig(frame_store="jpeg", frame_store_gb=1.5, frame_store_folder=str(tmp_path))
    store = open_store(loader, VIEWS, "data")
    assert (store.root, store.encoding, store.budget.limit_bytes) == (tmp_path, "jpeg", 1_500_000_000)
    assert open_store(loader, VIEWS, "data", "here").root == Path("here")


def test_moving_a_batch_keeps_what_is_no_tensor() -> None:
    batch = make_source().batch(0, with_unlabelled=False)
    moved = batch.to(torch.device("cpu"))
    assert same(batch, moved)
    assert moved.weak_BTCHW is None
