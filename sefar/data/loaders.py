"""Batches: labelled clips, and two independent views of unlabelled clips.

A batch is a pure function of the seed and its number. Hence a run resumes at any step without stored loader state, and
the number of workers changes nothing. Workers are threads: decoding, JPEG and scaling let go of Python's global lock
(docs/throughput.md has the numbers), and a batch needs no way from process to process.

Shape suffixes: L labelled clips, B unlabelled clips, T frames of all granularities, C channels, H, W pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sefar.data.augment import Crop, ViewConfig, crop_draws, cut, draw_crops, scale
from sefar.data.batch import Batch, Share, Squares
from sefar.data.framestore import ENCODINGS, FrameStore
from sefar.data.sampling import SamplingConfig, frame_draws, sample_frames
from sefar.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Batches, and where their frames come from.

    Attributes:
        labelled: labelled clips L a micro-batch.
        unlabelled_ratio: unlabelled clips B for each labelled one.
        workers: threads that prepare batches ahead; 0: in the training thread.
        frame_store: how decoded clips are kept: ``raw``; ``jpeg``, smaller but not the very pixels; ``off``, decoded
            each time, which gives the same views as ``raw``.
        frame_store_gb: most that the kept clips may take, 10⁹ bytes; 0: no limit.
        frame_store_folder: where they are kept, best a disk of the node's own; empty: beside the data.
    """

    labelled: int = 16
    unlabelled_ratio: int = 3
    workers: int = 1
    frame_store: str = "raw"
    frame_store_gb: float = 0
    frame_store_folder: str = ""

    def __post_init__(self) -> None:
        for name, least in (("labelled", 1), ("unlabelled_ratio", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"loader.{name}: expected an integer ≥ {least}, got {getattr(self, name)}")
        if self.frame_store not in ENCODINGS:
            raise ConfigError(
                f"loader.frame_store: '{self.frame_store}' is unknown{nearest(self.frame_store, ENCODINGS)}"
            )
        if self.frame_store_gb < 0:
            raise ConfigError(f"loader.frame_store_gb: expected a number ≥ 0, got {self.frame_store_gb:g}")

    @property
    def unlabelled(self) -> int:
        """Unlabelled clips B a micro-batch."""
        return self.labelled * self.unlabelled_ratio


def open_store(
    loader: LoaderConfig, views: ViewConfig, root: str | Path, folder: str | Path | None = None
) -> FrameStore:
    """The frame store of a configuration.

    Args:
        loader: how clips are kept.
        views: frames are kept as large as they need.
        root: folder of the data.
        folder: in place of the one that `loader` names.
    """
    return FrameStore(
        folder or loader.frame_store_folder or Path(root) / ".frames",
        max_short_side=views.short_side[1],
        limit_gb=loader.frame_store_gb or None,
        encoding=loader.frame_store,
    )


class BatchSource:
    """Makes batch number i of a run. Its workers live until it is closed.

    Args:
        labelled: clip table of the labelled clips.
        unlabelled: clip table of the unlabelled clips.
        store: where frames come from.
        loader: batch sizes.
        sampling: frames per granularity.
        views: spatial views.
        seed: of every draw.
        share: which clips of batch n are read, where processes share batches; all draws are those of the whole batch.
            None: all.
        scale_on_device: leave scaling and mirroring to `Batch.to`, as is best for a GPU: the squares that it scales are
            smaller than the views, and the workers have the rest to do.
    """

    def __init__(
        self,
        labelled: pd.DataFrame,
        unlabelled: pd.DataFrame,
        *,
        store: FrameStore,
        loader: LoaderConfig,
        sampling: SamplingConfig,
        views: ViewConfig,
        seed: int,
        share: Callable[[int], Share | None] | None = None,
        scale_on_device: bool = False,
    ) -> None:
        self.labelled, self.unlabelled = ClipReader(labelled, store, sampling), ClipReader(unlabelled, store, sampling)
        self.loader, self.views, self.seed = loader, views, seed
        self.share, self.scale_on_device = share, scale_on_device
        self._pool: ThreadPoolExecutor | None = None

    def batch(self, number: int, *, with_unlabelled: bool) -> Batch:
        """Batch `number` (0-based over the whole run), with or without unlabelled clips."""
        share = self.share(number) if self.share is not None else None
        read_L, read_weak, read_strong = (share.labelled, share.weak, share.strong) if share else (None, None, None)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, 1, number])))
        rows_L = cycled(len(self.labelled.table), number * self.loader.labelled, self.loader.labelled, self.seed)
        labelled = self._views(self.labelled, rows_L, rng, read_L, flip=True)
        label_L = torch.from_numpy(self.labelled.label[rows_L])
        ids = self.labelled.clip_id[rows_L]
        if not with_unlabelled:
            return Batch(labelled, label_L, clip_ids=tuple(ids), share=share)
        # a stream of its own, so that labelled batches are the same with and without unlabelled clips
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, 2, number])))
        count = self.loader.unlabelled
        rows_B = cycled(len(self.unlabelled.table), number * count, count, self.seed + 1)
        weak = self._views(self.unlabelled, rows_B, rng, read_weak, flip=False)
        strong = self._views(self.unlabelled, rows_B, rng, read_strong, flip=True)
        hidden_B = torch.from_numpy(self.unlabelled.label[rows_B])
        ids = np.concatenate([ids, self.unlabelled.clip_id[rows_B]])
        return Batch(labelled, label_L, weak, strong, hidden_B, tuple(ids), share)

    def batches(self, numbers: range, *, with_unlabelled: bool) -> Generator[Batch]:
        """Batches in order, prepared ahead by `loader.workers` threads; none is in the making once it is closed."""
        workers = self.loader.workers
        if workers == 0:
            yield from (self.batch(n, with_unlabelled=with_unlabelled) for n in numbers)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
        ahead: deque[Future[Batch]] = deque()
        try:
            for n in numbers:
                ahead.append(self._pool.submit(self.batch, n, with_unlabelled=with_unlabelled))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            wait([future for future in ahead if not future.cancel()])

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _views(
        self, clips: ClipReader, rows: np.ndarray, rng: np.random.Generator, wanted: np.ndarray | None, *, flip: bool
    ) -> Tensor | Squares:
        views: list[Any] = []
        granularities = len(clips.sampling.frames_per_granularity)
        draws = crop_draws(self.views, granularities) + frame_draws(clips.sampling)
        before = 0  # positions whose numbers are drawn
        for position in range(len(rows)) if wanted is None else wanted.tolist():
            rng.random(draws * (position - before))  # those of clips that other processes read
            before, row = position + 1, rows[position]
            crops = draw_crops(self.views, granularities, rng, flip=flip)
            if self.scale_on_device:
                views += clips.squares(row, crops, rng)
            else:
                views.append(clips.view(row, crops, self.views.size, rng))
        rng.random(draws * (len(rows) - before))
        if self.scale_on_device:
            return Squares.of(views, frames=sum(clips.sampling.frames_per_granularity), size=self.views.size)
        return torch.stack(views)


class ClipReader:
    """Rows of a clip table as views."""

    def __init__(self, table: pd.DataFrame, store: FrameStore, sampling: SamplingConfig) -> None:
        self.table, self.store, self.sampling = table, store, sampling
        self.label = table.label.to_numpy(np.int64)
        self.clip_id = table.clip_id.to_numpy(object)
        self._windows = list(zip(table.path, table.start_frame, table.end_frame, strict=True))

    def view(
        self, row: int, crops: list[Crop], size: int, rng: np.random.Generator | None = None, offset: float = 0.5
    ) -> Tensor:
        """One view of a clip, uint8 (T, C, size, size).

        Args:
            row: position in the table.
            crops: one per granularity.
            size: side, pixels.
            rng: draws the frames; None: deterministic at `offset` within each slot.
            offset: see `sample_frames`.

        Raises:
            DecodeError: the clip does not decode.
        """
        squares = self.squares(row, crops, rng, offset)
        return torch.cat([scale(torch.from_numpy(square), size, flip=flip) for square, flip in squares])

    def squares(
        self, row: int, crops: list[Crop], rng: np.random.Generator | None = None, offset: float = 0.5
    ) -> list[tuple[np.ndarray, bool]]:
        """What a view shows before it is scaled: squares (·, side, side, C) and whether each is mirrored.

        Crops that are all the same make one square of all frames, others one a granularity. Arguments and errors are
        those of `view`.
        """
        path, start, end = self._windows[row]
        clip = self.store.frames(path, int(start), int(end))
        frames_THWC = clip[sample_frames(len(clip), self.sampling, rng, offset=offset)]
        if len(set(crops)) == 1:
            return [(cut(frames_THWC, crops[0]), crops[0].flip)]
        parts = np.split(frames_THWC, np.cumsum(self.sampling.frames_per_granularity)[:-1])
        return [(cut(part, crop), crop.flip) for part, crop in zip(parts, crops, strict=True)]


def cycled(length: int, start: int, count: int, seed: int) -> np.ndarray:
    """Items start … start + count of an endless stream that walks a fresh permutation of `length` rows each cycle."""
    positions = np.arange(start, start + count)
    orders = {
        cycle: np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 3, int(cycle)]))).permutation(length)
        for cycle in np.unique(positions // length)
    }
    return np.array([orders[p // length][p % length] for p in positions], dtype=np.int64)
