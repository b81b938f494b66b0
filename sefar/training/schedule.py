"""Optimiser, learning-rate schedule and the length of a run (METHOD.md §5, last line)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from sefar.errors import ConfigError, nearest

OPTIMISERS = ("sgd", "adamw")
UNDECAYED = ("pos_embed", "time_embed", "cls_token")  # AdamW leaves them, biases and norms alone
SCHEDULES = ("step", "cosine", "constant")


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
        fresh_rate: factor on the learning rate of what image weights lack and so starts untrained: temporal attention,
            time embeddings, fusion, classifier.
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

    def __post_init__(self) -> None:
        for name, value, valid in (
            ("optimiser", self.optimiser, OPTIMISERS),
            ("schedule", self.schedule, SCHEDULES),
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


def build_optimiser(config: OptimConfig, model: nn.Module, *, fresh: tuple[str, ...]) -> torch.optim.Optimizer:
    """Make the optimiser, its parameter groups carrying ``rate`` (their factor on the learning rate).

    Args:
        config: which optimiser.
        model: the student.
        fresh: parameters whose names hold one of these start untrained and get ``config.fresh_rate``.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        rate = config.fresh_rate if any(part in name for part in fresh) else 1.0
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
