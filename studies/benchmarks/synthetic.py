"""A trainer and batches without clips: random frames of the right shapes, for timing what comes after reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sefar.config import TrainConfig
from sefar.data.batch import Batch
from sefar.data.scopes import Scope
from sefar.recipes import recipe
from sefar.training.distributed import World
from sefar.training.trainer import Trainer

CLASSES = 99  # as in Gym99

SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny": ("synthgym_tiny", {"model.pretrained": "none"}),
    "vit_s_112": (
        "paper_vit_s",
        {"model.pretrained": "none", "views.size": 112, "views.short_side": (128, 160), "loader.labelled": 2},
    ),
    "vit_s_224": ("paper_vit_s", {"model.pretrained": "none", "loader.labelled": 1}),
    "vit_b_224": ("paper_vit_b", {"model.pretrained": "none", "loader.labelled": 8}),
}
"""Recipe and overrides of the networks that are timed; `loader.labelled` keeps a step to seconds on two cores."""


def step_config(size: str, changes: Mapping[str, Any] | None = None) -> TrainConfig:
    """The configuration of a size, in its second epoch's mood: no warm-up, S = 10."""
    name, overrides = SIZES[size]
    return recipe(name, {**overrides, "objective.warmup_epochs": 0, "loader.workers": 0, **(changes or {})})


def empty_scope(classes: int = CLASSES) -> Scope:
    """A scope of clips that do not exist; nothing reads them."""
    table = pd.DataFrame({"clip_id": ["none"], "path": ["none"], "label": [0], "start_frame": [0], "end_frame": [-1]})
    names = [str(number) for number in range(classes)]
    none = table.iloc[:0]
    return Scope("synthetic", names, list(range(classes)), table, table, none, none, "", "", [])


def synthetic_trainer(
    config: TrainConfig, folder: Path, *, device: str = "cpu", world: World | None = None, classes: int = CLASSES
) -> Trainer:
    """A trainer that has its teacher, and weights under which every part of the network matters."""
    trainer = Trainer(config, empty_scope(classes), device=device, frame_store=folder / "frames", world=world)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in trainer.student.named_parameters():
            if name.endswith("temporal_fc.weight") or "time_embed" in name:  # they start at zero
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    trainer._make_teacher()
    return trainer


def share_of(trainer: Trainer, batch: Batch) -> Batch:
    """What the trainer's process reads of a whole batch for its next step."""
    share = trainer._share(trainer.step)
    if share is None:
        return batch
    assert batch.weak_BTCHW is not None and batch.strong_BTCHW is not None
    return replace(
        batch,
        labelled_LTCHW=batch.labelled_LTCHW[share.labelled],
        weak_BTCHW=batch.weak_BTCHW[share.weak],
        strong_BTCHW=batch.strong_BTCHW[share.strong],
        share=share,
    )


def synthetic_batch(config: TrainConfig, *, seed: int = 0, classes: int = CLASSES) -> Batch:
    """Random frames and labels, as large as `config.loader` says."""
    rng = np.random.default_rng(seed)
    labelled, unlabelled = config.loader.labelled, config.loader.unlabelled
    frames, size = sum(config.sampling.frames_per_granularity), config.views.size

    def views(clips: int) -> torch.Tensor:
        return torch.from_numpy(rng.integers(0, 256, (clips, frames, 3, size, size), dtype=np.uint8))

    return Batch(
        views(labelled),
        torch.from_numpy(rng.integers(0, classes, labelled)),
        views(unlabelled),
        views(unlabelled),
        torch.from_numpy(rng.integers(0, classes, unlabelled)),
        tuple(f"clip {n}" for n in range(labelled + unlabelled)),
    )
