"""Optimiser, learning-rate schedule and the length of a run (METHOD.md §5, last line)."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from sefar.errors import ConfigError, nearest
from sefar.training.precision import PRECISIONS

OPTIMISERS = ("sgd", "adamw")
UNDECAYED = ("pos_embed", "time_embed", "cls_token")  # AdamW leaves them, biases and norms alone
SCHEDULES = ("step", "cosine", "constant")
EMBEDDINGS = (*UNDECAYED, "patch_embed")  # what lies below the first block


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Optimiser, schedule and length.

    Attributes:
        optimiser: ``sgd`` (Nesterov, the paper's) or ``adamw``.
        learning_rate: peak rate; the paper's 0.005 is for 64 clips a step.
        momentum: of SGD; AdamW's β₁.
        weight_decay: of all parameters with SGD (paper); with AdamW not of embeddings, class token, biases and norms.
        schedule: ``step``: × 1, 0.1, 0.01 from the `milestones`; ``cosine`` to zero; ``constant``.
        milestones: shares of the run at which ``step`` falls tenfold (paper: epochs 25 and 28 of 30).
        epochs: epochs E.
        steps_per_epoch: optimiser steps of an epoch; 0: one pass over the unlabelled clips.
        accumulate: micro-batches whose gradients make one optimiser step.
        clip_norm: greatest gradient norm; 0: no clipping.
        fresh_rate: factor on the learning rate of what the pretrained weights lack and so starts untrained: fusion and
            classifier, with image weights temporal attention and time embeddings too. Without pretrained weights
            everything has the same rate.
        layer_decay: λ in (0, 1]; the learning rate of layer l of a network of depth D is multiplied by λ^(D + 1 − l),
            as in BEiT (arXiv 2106.08254) and MAE. Embeddings are layer 0, block i is layer i + 1, all above is D + 1.
        precision: of the networks' calls in training and evaluation: ``auto`` is bfloat16 on a GPU that has it and
            float32 elsewhere. Weights, losses and softmax are always float32.
        compile: compile the encoder (`torch.compile`): a minute or two at the start for faster steps on a GPU.
    """

    optimiser: str = "sgd"
    learning_rate: float = 0.005
    momentum: float = 0.9
    weight_decay: float = 1e-3
    schedule: str = "step"
    milestones: tuple[float, ...] = (25 / 30, 28 / 30)
    epochs: int = 30
    steps_per_epoch: int = 0
    accumulate: int = 1
    clip_norm: float = 0.0
    fresh_rate: float = 1.0
    layer_decay: float = 1.0
    precision: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        for name, value, valid in (
            ("optimiser", self.optimiser, OPTIMISERS),
            ("schedule", self.schedule, SCHEDULES),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in valid:
                raise ConfigError(f"optim.{name}: '{value}' is unknown{nearest(value, valid)}")
        for name in ("epochs", "accumulate"):
            if getattr(self, name) < 1:
                raise ConfigError(f"optim.{name}: expected an integer ≥ 1, got {getattr(self, name)}")
        for name in ("steps_per_epoch", "clip_norm", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"optim.{name}: expected a number ≥ 0, got {getattr(self, name)}")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"optim.momentum: expected a number in [0, 1), got {self.momentum}")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"optim.layer_decay: expected a number in (0, 1], got {self.layer_decay}")
        for name in ("learning_rate", "fresh_rate"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"optim.{name}: expected a number > 0, got {getattr(self, name)}")


def rate_factor(config: OptimConfig, step: int, total_steps: int) -> float:
    """Factor on the learning rate at 0-based optimiser step `step` of `total_steps`."""
    progress = step / total_steps
    if config.schedule == "step":
        # the tolerance keeps 25/30 of 30 epochs at epoch 25 exactly
        return 0.1 ** sum(progress >= m - 1e-9 for m in config.milestones)
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0


def layer_of(name: str, depth: int) -> int:
    """Layer of a parameter of that name, from 0 (embeddings) to depth + 1 (all above the blocks)."""
    block = re.search(r"\bblocks\.(\d+)\.", name)
    if block:
        return int(block[1]) + 1
    return 0 if any(part in name for part in EMBEDDINGS) else depth + 1


def build_optimiser(config: OptimConfig, model: nn.Module, *, fresh: Collection[str]) -> torch.optim.Optimizer:
    """Make the optimiser of what is not frozen; its groups carry ``rate``, their factor on the learning rate.

    Args:
        config: which optimiser.
        model: the student.
        fresh: names of the parameters that the pretrained weights lack: they get ``config.fresh_rate``.
    """
    depth = max((layer_of(name, -1) for name, _ in model.named_parameters()), default=0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = config.fresh_rate if name in fresh else 1.0
        rate *= config.layer_decay ** (depth + 1 - layer_of(name, depth))
        decays = config.optimiser == "sgd" or (parameter.ndim >= 2 and not any(part in name for part in UNDECAYED))
        groups.setdefault((rate, config.weight_decay if decays else 0.0), []).append(parameter)
    param_groups = [
        {"params": parameters, "rate": rate, "weight_decay": decay, "lr": config.learning_rate * rate}
        for (rate, decay), parameters in groups.items()
    ]
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            param_groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0
        )
    return torch.optim.AdamW(param_groups, lr=config.learning_rate, betas=(config.momentum, 0.999))


def set_learning_rate(optimiser: torch.optim.Optimizer, config: OptimConfig, step: int, total_steps: int) -> float:
    """Set every group's learning rate for the step and return the base rate."""
    rate = config.learning_rate * rate_factor(config, step, total_steps)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["rate"]
    return rate
