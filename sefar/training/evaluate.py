"""Deterministic evaluation: temporal offsets × spatial crops, probabilities averaged (METHOD.md §2).

Shape suffixes: N clips, B those of a batch, K classes, T frames, S passes, F fusion width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sefar.data.augment import ViewConfig, evaluation_crop
from sefar.data.loaders import ClipReader
from sefar.errors import ConfigError
from sefar.models.granularity import SefarNet, normalise
from sefar.ssl.teacher import PseudoLabels, TeacherConfig, ask, ask_head
from sefar.training.diagnostics import Answers, expected_calibration_error
from sefar.training.distributed import ALONE, World

CLIP_COLUMNS = ("clip_id", "path", "start_frame", "end_frame", "label", "label_name", "set", "group")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How clips are evaluated.

    Attributes:
        views: temporal offsets averaged on the test set.
        crops: spatial crops averaged on the test set, spread along the long side.
        dev_views: temporal offsets on the dev set after every epoch (one crop).
        batch: clips a forward pass.
    """

    views: int = 3
    crops: int = 1
    dev_views: int = 1
    batch: int = 64

    def __post_init__(self) -> None:
        for name in ("views", "crops", "dev_views", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"evaluation.{name}: expected an integer ≥ 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Evaluation:
    """Scores of student and teacher on one part.

    Attributes:
        metrics: percent: ``student_top1``, ``student_top5``, ``student_mean_class``, ``student_ece`` (expected
            calibration error) and the same for ``teacher`` where there is one.
        predictions: a row a clip: the columns of `CLIP_COLUMNS`, student_top5, teacher_top5 (class
            indices, best first; None without a teacher), confidence and spread (of the teacher's passes, else of the
            student's).
        answers: what ``student`` and, where there is one, ``teacher`` said; only of a final evaluation.
    """

    metrics: dict[str, float]
    predictions: pd.DataFrame
    answers: dict[str, Answers] = field(default_factory=dict)


@torch.no_grad()
def clip_probabilities(
    model: SefarNet,
    reader: ClipReader,
    *,
    view_config: ViewConfig,
    views: int,
    crops: int,
    batch: int,
    device: torch.device,
    world: World = ALONE,
) -> Tensor:
    """Class probabilities (N, K) of every clip, averaged over offsets × crops; same input, same result.

    Of the processes of `world` each works on its run of the clips; all get all.
    """
    offsets = [(v + 0.5) / views for v in range(views)]
    positions = [(c + 0.5) / crops for c in range(crops)]

    def answer(rows: range) -> Tensor:
        total = torch.zeros(len(rows), model.num_classes, device=device)
        for offset in offsets:
            for position in positions:
                frames = view_batch(reader, rows, view_config, offset=offset, position=position)
                total += model(normalise(frames.to(device))).float().softmax(1)
        return total / (views * crops)

    with evaluating(model):
        return _in_runs(answer, len(reader.table), batch, world, device).cpu()


@contextmanager
def evaluating(model: SefarNet) -> Iterator[None]:
    """Within the block the network is in evaluation mode."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _in_runs(answer: Callable[[range], Tensor], count: int, batch: int, world: World, device: torch.device) -> Tensor:
    """What `answer` gives for batches of rows, joined for all `count` rows (N, …).

    Of several processes each asks for its run; an error of one is raised by all.
    """
    own = world.run(count)
    batches = [range(start, min(start + batch, own.stop)) for start in range(own.start, own.stop, batch)]
    return world.join_runs(world.agreed(lambda: torch.cat([answer(rows) for rows in batches]), device), count)


def view_batch(reader: ClipReader, rows: range, views: ViewConfig, *, offset: float, position: float) -> Tensor:
    """One deterministic view of each row, uint8 (N, T, C, size, size)."""
    granularities = len(reader.sampling.frames_per_granularity)
    crop = [evaluation_crop(views, position)] * granularities
    return torch.stack([reader.view(r, crop, views.size, offset=offset) for r in rows])


def top_k(probs_NK: Tensor, k: int = 5) -> np.ndarray:
    """Class indices (N, min(k, K)), best first."""
    return probs_NK.topk(min(k, probs_NK.shape[1]), 1).indices.numpy()


def accuracy_metrics(probs_NK: Tensor, label_N: np.ndarray, prefix: str) -> dict[str, float]:
    """Top-1, top-5 and mean class accuracy (classes without clips do not count) and calibration error, in percent."""
    best = top_k(probs_NK)
    right_N = best[:, 0] == label_N
    per_class = [right_N[label_N == k].mean() for k in np.unique(label_N)]
    return {
        f"{prefix}_top1": 100 * float(right_N.mean()),
        f"{prefix}_top5": 100 * float((best == label_N[:, None]).any(1).mean()),
        f"{prefix}_mean_class": 100 * float(np.mean(per_class)),
        f"{prefix}_ece": expected_calibration_error(probs_NK.amax(1).numpy(), right_N),
    }


def evaluate_part(
    student: SefarNet,
    teacher: SefarNet | None,
    reader: ClipReader,
    *,
    view_config: ViewConfig,
    config: EvaluationConfig,
    teacher_config: TeacherConfig,
    final: bool,
    seed: int,
    device: torch.device,
    world: World = ALONE,
) -> Evaluation:
    """Evaluate both networks on a part; `final` uses all views and crops and asks for confidence and spread.

    Of the processes of `world` each reads and evaluates its run of the clips; all make the same call and get the same.
    """
    label_N = reader.label
    metrics: dict[str, float] = {}
    columns: dict[str, Any] = {}
    answers: dict[str, Answers] = {}
    for prefix, model in (("student", student), ("teacher", teacher)):
        columns[f"{prefix}_top5"] = [None] * len(label_N)
        if model is None:
            continue
        probs_NK = clip_probabilities(
            model,
            reader,
            view_config=view_config,
            views=config.views if final else config.dev_views,
            crops=config.crops if final else 1,
            batch=config.batch,
            device=device,
            world=world,
        )
        metrics |= accuracy_metrics(probs_NK, label_N, prefix)
        columns[f"{prefix}_top5"] = top_k(probs_NK).tolist()
        if final:
            asked = _ask_part(model, reader, view_config, config, teacher_config, seed, device, world)
            answers[prefix] = Answers(probs_NK.numpy(), *asked)
    table = reader.table[list(CLIP_COLUMNS)].assign(**columns)
    if final:
        asked_of = answers.get("teacher", answers["student"])
        table = table.assign(confidence=asked_of.confidence_N, spread=asked_of.spread_N)
    return Evaluation(metrics, table, answers)


def _ask_part(
    model: SefarNet,
    reader: ClipReader,
    view_config: ViewConfig,
    config: EvaluationConfig,
    teacher_config: TeacherConfig,
    seed: int,
    device: torch.device,
    world: World,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pseudo-label, confidence and spread (N,) of every clip's middle view; the same dropout for every network."""
    count = len(reader.table)

    def frames(rows: range) -> Tensor:
        return normalise(view_batch(reader, rows, view_config, offset=0.5, position=0.5).to(device))

    with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        if teacher_config.stochastic == "backbone":
            if count >= world.size:  # else all do the same
                world.spread_seeds()
            said_N3 = _in_runs(
                lambda rows: _columns(ask(model, frames(rows), teacher_config)), count, config.batch, world, device
            )
        else:  # the head passes of all clips are every process's, and so are their draws
            features_NF = _in_runs(
                lambda rows: model.features(model.embed(frames(rows))), count, config.batch, world, device
            )
            parts = features_NF.split(config.batch)
            said_N3 = torch.cat([_columns(ask_head(model, part, teacher_config)) for part in parts])
    label_N, confidence_N, spread_N = said_N3.cpu().unbind(1)
    return label_N.long().numpy(), confidence_N.numpy(), spread_N.numpy()


def _columns(said: PseudoLabels) -> Tensor:
    """Label, confidence and spread side by side, float32 (B, 3)."""
    return torch.stack([said.label_B.float(), said.confidence_B, said.spread_B], 1)
