"""A micro-batch, and its way to the training device.

Shape suffixes: L labelled clips, B unlabelled clips, N either, T frames of all granularities, C channels, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from sefar.data.augment import scale

Views = TypeVar("Views")


@dataclass(frozen=True)
class Squares:
    """Views of N clips before they are scaled: what of the frames their crops show.

    Attributes:
        squares: uint8 (·, side, side, C), one a clip or, with a crop for each granularity, several; in pinned memory
            where there is CUDA.
        flips: whether each is mirrored.
        frames: T.
        size: side of the views, pixels.
    """

    squares: tuple[Tensor, ...]
    flips: tuple[bool, ...]
    frames: int
    size: int

    @classmethod
    def of(cls, squares: Iterable[tuple[np.ndarray, bool]], *, frames: int, size: int) -> Squares:
        """From squares and whether each is mirrored; they are copied out of the frames that they are part of."""
        cuda = torch.cuda.is_available()
        copied = [(torch.from_numpy(np.ascontiguousarray(square)), flip) for square, flip in squares]
        return cls(tuple(s.pin_memory() if cuda else s for s, _ in copied), tuple(f for _, f in copied), frames, size)

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Tensor:
        """The views, uint8 (N, T, C, size, size), scaled on the device."""
        moved = (square.to(device, non_blocking=non_blocking) for square in self.squares)
        views = [scale(square, self.size, flip=flip) for square, flip in zip(moved, self.flips, strict=True)]
        return torch.cat(views).unflatten(0, (-1, self.frames))


@dataclass(frozen=True)
class Share:
    """Which clips of a batch one of several processes has the views of: ascending positions, int64.

    Attributes:
        labelled: among the L labelled clips.
        weak: among the B unlabelled clips, in the weak view.
        strong: among the B unlabelled clips, in the strong view.
    """

    labelled: np.ndarray
    weak: np.ndarray
    strong: np.ndarray


@dataclass(frozen=True)
class Batch(Generic[Views]):
    """One micro-batch; views are uint8 (·, T, C, H, W), or the `Squares` that become them on the device.

    Unlabelled fields are None in supervised batches. Of several processes each has views of its share alone, but labels
    and ids of all clips.

    Attributes:
        labelled_LTCHW: views of labelled clips.
        label_L: their labels.
        weak_BTCHW: weak views.
        strong_BTCHW: strong views, of other clips than the weak ones where a share says so.
        hidden_label_B: labels of the unlabelled clips, for reports; −1 where unknown.
        clip_ids: of labelled and unlabelled clips.
        share: which clips the views are of; None: all.
    """

    labelled_LTCHW: Views
    label_L: Tensor
    weak_BTCHW: Views | None = None
    strong_BTCHW: Views | None = None
    hidden_label_B: Tensor | None = None
    clip_ids: tuple[str, ...] = ()
    share: Share | None = None

    def to(self, device: torch.device) -> Batch[Tensor]:
        """The batch on a device."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor | Squares)
        }
        return Batch(**(vars(self) | moved))
