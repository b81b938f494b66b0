"""The three losses and their sum (METHOD.md §5).

Shape suffixes: L labelled clips, B unlabelled clips, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sefar.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the losses. Both γ zero means supervised only: no unlabelled clip is loaded.

    Attributes:
        gamma_unlabelled: γ₁, weight of the pseudo-label loss.
        gamma_mix: γ₂, weight of the mixed loss; 0 means no clip is mixed.
        warmup_epochs: epochs w with labelled clips only, before the teacher is made.
    """

    gamma_unlabelled: float = 2.0
    gamma_mix: float = 2.0
    warmup_epochs: int = 5

    def __post_init__(self) -> None:
        for name in ("gamma_unlabelled", "gamma_mix", "warmup_epochs"):
            if getattr(self, name) < 0:
                raise ConfigError(f"objective.{name}: expected a number ≥ 0, got {getattr(self, name)}")

    @property
    def uses_unlabelled(self) -> bool:
        """Whether any loss needs unlabelled clips."""
        return self.gamma_unlabelled > 0 or self.gamma_mix > 0


def ramp(epoch: int, epochs: int, warmup_epochs: int) -> float:
    """ξ = sin(½ π (e + 1 − w) / (E − w)) for 0-based epoch e ≥ w of E, and 0 before."""
    if epoch < warmup_epochs:
        return 0.0
    return math.sin(0.5 * math.pi * (epoch + 1 - warmup_epochs) / (epochs - warmup_epochs))


def supervised_loss(logits_LK: Tensor, label_L: Tensor) -> Tensor:
    """Mean cross-entropy of the labelled clips."""
    return F.cross_entropy(logits_LK.float(), label_L)


def unlabelled_loss(strong_logits_BK: Tensor, pseudo_label_B: Tensor, weight_B: Tensor) -> Tensor:
    """L_un = mean_b η_b · CE(student(strong_b), y_b)."""
    loss_B = F.cross_entropy(strong_logits_BK.float(), pseudo_label_B, reduction="none")
    return (weight_B * loss_B).mean()


def mixed_loss(mixed_logits_BK: Tensor, target_BK: Tensor, weight_B: Tensor, prediction: str) -> Tensor:
    """L_mix = mean_b η′_b · mean_k (q_bk − target_bk)², q the softmax (``probs``) or the raw ``logits``."""
    logits = mixed_logits_BK.float()
    q_BK = logits.softmax(1) if prediction == "probs" else logits
    return (weight_B * (q_BK - target_BK).square().mean(1)).mean()


def total_loss(
    supervised: Tensor, unlabelled: Tensor, mixed: Tensor, config: ObjectiveConfig, ramp_value: float
) -> Tensor:
    """L = L_sup + ξ (γ₁ L_un + γ₂ L_mix)."""
    return supervised + ramp_value * (config.gamma_unlabelled * unlabelled + config.gamma_mix * mixed)


def pseudo_label_quality(pseudo_label_B: Tensor, weight_B: Tensor, hidden_label_B: Tensor) -> dict[str, float]:
    """How right the pseudo-labels were, where hidden labels exist (−1 where none do).

    Returns:
        ``pseudo_label_accuracy`` over all clips, ``weighted_pseudo_label_accuracy`` (weights as counts) and
        ``pseudo_label_coverage`` (share of clips with a weight above 0). An accuracy is NaN where nothing counts.
    """
    known_B = hidden_label_B >= 0
    right_B = (pseudo_label_B == hidden_label_B) & known_B
    weight_known = weight_B * known_B
    nan = torch.tensor(float("nan"))
    return {
        "pseudo_label_accuracy": float(right_B.sum() / known_B.sum() if known_B.any() else nan),
        "weighted_pseudo_label_accuracy": float(
            (weight_known * right_B).sum() / weight_known.sum() if weight_known.sum() > 0 else nan
        ),
        "pseudo_label_coverage": float((weight_B > 0).float().mean()),
    }
