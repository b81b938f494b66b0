"""The teacher: an exponential moving average of the student, read with S stochastic passes (paper §3.3).

Shape suffixes: S stochastic passes, B clips, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from sefar.errors import ConfigError, nearest

STOCHASTIC = ("head", "backbone")


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """How the teacher follows the student and how it is asked.

    Attributes:
        passes: stochastic passes S; 1 means one pass without dropout (FixMatch), whose spread is 0.
        stochastic: ``head``, only the classifier's dropout is random, so the backbone runs once and the head S times;
            ``backbone``, drop path is random too and the whole model runs S times.
        horizon_epochs: the average forgets with this time constant, in epochs of optimiser steps. 0: the teacher is the
            student (FixMatch as published).
        decay: a fixed decay per optimiser step instead of a horizon (the release: 0.9999).
    """

    passes: int = 10
    stochastic: str = "head"
    horizon_epochs: float = 1.0
    decay: float | None = None

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise ConfigError(f"teacher.passes: expected an integer ≥ 1, got {self.passes}")
        if self.stochastic not in STOCHASTIC:
            raise ConfigError(
                f"teacher.stochastic: '{self.stochastic}' is unknown{nearest(self.stochastic, STOCHASTIC)}"
            )
        if self.horizon_epochs < 0:
            raise ConfigError(f"teacher.horizon_epochs: expected a number ≥ 0, got {self.horizon_epochs}")
        if self.decay is not None and not 0 <= self.decay < 1:
            raise ConfigError(f"teacher.decay: expected a number in [0, 1), got {self.decay}")

    def decay_per_step(self, steps_per_epoch: int) -> float:
        """Decay of the average per optimiser step."""
        if self.decay is not None:
            return self.decay
        horizon_steps = self.horizon_epochs * steps_per_epoch
        return max(0.0, 1 - 1 / horizon_steps) if horizon_steps > 0 else 0.0


class Askable(Protocol):
    """What `ask` needs of a network: its backbone and its head apart."""

    def embed(self, frames_BTCHW: Tensor) -> list[Tensor]:
        """Patch tokens of each granularity; nothing in here is random."""

    def features(self, tokens: list[Tensor]) -> Tensor:
        """Clip features (B, F) from patch tokens."""

    def head_passes(self, features_BF: Tensor, passes: int) -> Tensor:
        """Logits (S, B, K) of S passes of the head."""

    def modules(self) -> Iterator[nn.Module]:
        """All modules, as of `torch.nn.Module`."""


@dataclass(frozen=True)
class PseudoLabels:
    """What the teacher says of a batch (METHOD.md §5.2).

    Attributes:
        probs_BK: mean probabilities over the passes.
        label_B: int64, the class of greatest mean probability.
        confidence_B: that mean probability.
        spread_B: unbiased standard deviation over the passes of the label's probability; 0 for one pass.
    """

    probs_BK: Tensor
    label_B: Tensor
    confidence_B: Tensor
    spread_B: Tensor


def pseudo_labels(probs_SBK: Tensor) -> PseudoLabels:
    """Reduce the passes' probabilities to pseudo-label, confidence and spread.

    Args:
        probs_SBK: probabilities of S passes.

    Returns:
        `PseudoLabels` of the batch.
    """
    probs_BK = probs_SBK.mean(0)
    confidence_B, label_B = probs_BK.max(1)
    picked_SB = probs_SBK.gather(2, label_B.expand(len(probs_SBK), -1)[..., None])[..., 0]
    spread_B = picked_SB.std(0, unbiased=True) if len(probs_SBK) > 1 else torch.zeros_like(confidence_B)
    return PseudoLabels(probs_BK, label_B, confidence_B, spread_B)


@torch.no_grad()
def ask(model: Askable, frames_BTCHW: Tensor, config: TeacherConfig) -> PseudoLabels:
    """Pseudo-labels of normalised frames from S stochastic passes of an evaluation-mode network (METHOD.md §5.2)."""
    if config.stochastic != "backbone" or config.passes == 1:
        # only the head is random: one backbone pass serves all S (METHOD.md §6 row 3)
        return ask_head(model, model.features(model.embed(frames_BTCHW)), config)
    with stochastic_mode(model, config):
        tokens = model.embed(frames_BTCHW)
        logits_SBK = torch.cat([model.head_passes(model.features(tokens), 1) for _ in range(config.passes)])
    return pseudo_labels(logits_SBK.float().softmax(-1))


@torch.no_grad()
def ask_head(model: Askable, features_BF: Tensor, config: TeacherConfig) -> PseudoLabels:
    """Pseudo-labels of clip features from S passes of the head, which alone is random."""
    with stochastic_mode(model, config):
        logits_SBK = model.head_passes(features_BF, config.passes)
    return pseudo_labels(logits_SBK.float().softmax(-1))


def make_teacher(student: nn.Module) -> nn.Module:
    """Copy the student as it stands into a teacher without gradients, in evaluation mode."""
    teacher = copy.deepcopy(student)
    return teacher.requires_grad_(False).eval()


@torch.no_grad()
def ema_update(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Move the teacher towards the student: t ← decay · t + (1 − decay) · s, buffers copied."""
    teacher_params: list[torch.Tensor] = list(teacher.parameters())
    student_params = [p.detach() for p in student.parameters()]
    torch._foreach_lerp_(teacher_params, student_params, 1 - decay)
    for ours, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
        ours.copy_(theirs)


@contextmanager
def stochastic_mode(model: Askable, config: TeacherConfig) -> Iterator[None]:
    """Within the block, exactly what `config` calls stochastic is random in the (evaluation-mode) teacher.

    One pass is deterministic: there is nothing to average over.
    """
    switched: list[nn.Module] = []
    if config.passes > 1:
        kinds = (nn.Dropout,) if config.stochastic == "head" else (nn.Dropout, DropPath)
        switched = [m for m in model.modules() if isinstance(m, kinds)]
    for module in switched:
        module.train()
    try:
        yield
    finally:
        for module in switched:
            module.eval()
