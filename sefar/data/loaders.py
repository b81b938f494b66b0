"""Batches: labelled clips, and two independent views of unlabelled clips.

A batch is a pure function of the seed and its number. Hence a run resumes at any step without stored loader state, and
the number of workers changes nothing.

Shape suffixes: L labelled clips, B unlabelled clips, T frames of all granularities, C channels, H, W pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sefar.data.augment import Crop, ViewConfig, apply_crop, draw_crops
from sefar.data.framestore import FrameStore
from sefar.data.sampling import SamplingConfig, sample_frames
from sefar.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Batches.

    Attributes:
        labelled: labelled clips L a micro-batch.
        unlabelled_ratio: unlabelled clips B for each labelled one.
        workers: threads that prepare batches ahead; 0: in the training thread.
    """

    labelled: int = 16
    unlabelled_ratio: int = 3
    workers: int = 1

    def __post_init__(self) -> None:
        for name, least in (("labelled", 1), ("unlabelled_ratio", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"loader.{name}: expected an integer ≥ {least}, got {getattr(self, name)}")

    @property
    def unlabelled(self) -> int:
        """Unlabelled clips B a micro-batch."""
        return self.labelled * self.unlabelled_ratio


@dataclass(frozen=True)
class Batch:
    """One micro-batch; views are uint8 (·, T, C, H, W). Unlabelled fields are None in supervised batches."""

    labelled_LTCHW: Tensor
    label_L: Tensor
    weak_BTCHW: Tensor | None = None
    strong_BTCHW: Tensor | None = None
    hidden_label_B: Tensor | None = None
    clip_ids: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


class BatchSource:
    """Makes batch number i of a run.

    Args:
        labelled: clip table of the labelled clips.
        unlabelled: clip table of the unlabelled clips.
        store: where frames come from.
        loader: batch sizes.
        sampling: frames per granularity.
        views: spatial views.
        seed: of every draw.
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
    ) -> None:
        self.labelled, self.unlabelled = ClipReader(labelled, store, sampling), ClipReader(unlabelled, store, sampling)
        self.loader, self.views, self.seed = loader, views, seed
        self.granularities = len(sampling.frames_per_granularity)

    def batch(self, number: int, *, with_unlabelled: bool) -> Batch:
        """Batch `number` (0-based over the whole run), with or without unlabelled clips."""
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, 1, number])))
        rows_L = cycled(len(self.labelled.table), number * self.loader.labelled, self.loader.labelled, self.seed)
        labelled = torch.stack([self._view(self.labelled, r, rng, flip=True) for r in rows_L])
        label_L = torch.from_numpy(self.labelled.label[rows_L])
        ids = self.labelled.clip_id[rows_L]
        if not with_unlabelled:
            return Batch(labelled, label_L, clip_ids=tuple(ids))
        # a stream of its own, so that labelled batches are the same with and without unlabelled clips
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, 2, number])))
        count = self.loader.unlabelled
        rows_B = cycled(len(self.unlabelled.table), number * count, count, self.seed + 1)
        weak = torch.stack([self._view(self.unlabelled, r, rng, flip=False) for r in rows_B])
        strong = torch.stack([self._view(self.unlabelled, r, rng, flip=True) for r in rows_B])
        hidden_B = torch.from_numpy(self.unlabelled.label[rows_B])
        ids = np.concatenate([ids, self.unlabelled.clip_id[rows_B]])
        return Batch(labelled, label_L, weak, strong, hidden_B, tuple(ids))

    def batches(self, numbers: range, *, with_unlabelled: bool) -> Generator[Batch]:
        """Batches in order, prepared ahead by `loader.workers` threads, which end when it is closed."""
        workers = self.loader.workers
        if workers == 0:
            yield from (self.batch(n, with_unlabelled=with_unlabelled) for n in numbers)
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="loader") as pool:
            ahead: deque[Future[Batch]] = deque()
            try:
                for n in numbers:
                    ahead.append(pool.submit(self.batch, n, with_unlabelled=with_unlabelled))
                    if len(ahead) > 2 * workers:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _view(self, clips: ClipReader, row: int, rng: np.random.Generator, *, flip: bool) -> Tensor:
        crops = draw_crops(self.views, self.granularities, rng, flip=flip)
        return clips.view(row, crops, self.views.size, rng)


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
        path, start, end = self._windows[row]
        frames_NHWC = self.store.frames(path, int(start), int(end))
        index_T = sample_frames(len(frames_NHWC), self.sampling, rng, offset=offset)
        if len(set(crops)) == 1:
            return apply_crop(frames_NHWC[index_T], crops[0], size)
        parts, at = [], 0
        for crop, length in zip(crops, self.sampling.frames_per_granularity, strict=True):
            parts.append(apply_crop(frames_NHWC[index_T[at : at + length]], crop, size))
            at += length
        return torch.cat(parts)


def cycled(length: int, start: int, count: int, seed: int) -> np.ndarray:
    """Items start … start + count of an endless stream that walks a fresh permutation of `length` rows each cycle."""
    positions = np.arange(start, start + count)
    orders = {
        cycle: np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 3, int(cycle)]))).permutation(length)
        for cycle in np.unique(positions // length)
    }
    return np.array([orders[p // length][p % length] for p in positions], dtype=np.int64)
