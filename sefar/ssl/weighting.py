"""How much each pseudo-labelled clip counts: adaptive regulation (paper §3.3) and the schemes it is compared with.

Every scheme is one object, ``weights(confidence_B, spread_B, pseudo_label_B) -> weight_B``, and keeps what it learns
over the run in buffers, so that a checkpoint holds it.

Shape suffixes: B clips, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sefar.errors import ConfigError, nearest

E = torch.e


@dataclass(frozen=True, kw_only=True)
class WeightingConfig:
    """Weighting scheme and its parameters; only those of the chosen `kind` are read.

    Attributes:
        kind: a key of `SCHEMES`.
        alpha: slope of the confidence factor (``adaptive``, ``confidence``).
        kappa: slope of the spread factor (``adaptive``, ``spread``).
        threshold: least confidence τ (``fixed``, ``flexmatch``, ``adaptive_above``, ``ups``).
        spread_threshold: greatest spread (``ups``).
        constant: the weight (``constant``).
        momentum: of the running means (``freematch``, ``softmatch``, ``run_mean``).
    """

    kind: str = "adaptive"
    alpha: float = 1.0
    kappa: float = 20.0
    threshold: float = 0.8
    spread_threshold: float = 0.05
    constant: float = 1.0
    momentum: float = 0.99

    def __post_init__(self) -> None:
        if self.kind not in SCHEMES:
            raise ConfigError(f"weighting.kind: '{self.kind}' is unknown{nearest(self.kind, SCHEMES)}")
        for name in ("threshold", "spread_threshold", "momentum"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"weighting.{name}: expected a number in [0, 1], got {getattr(self, name)}")
        if self.alpha <= 0 or self.kappa <= 0:
            raise ConfigError(
                f"weighting: alpha and kappa must be positive, got alpha={self.alpha}, kappa={self.kappa}"
            )
        if self.constant < 0:
            raise ConfigError(f"weighting.constant: expected a number ≥ 0, got {self.constant}")


def confidence_factor(confidence_B: Tensor, alpha: float) -> Tensor:
    """2 σ(α(e^c − e)): 1 at full confidence, falling with it (METHOD.md §5.3)."""
    return 2 * torch.sigmoid(alpha * (torch.exp(confidence_B) - E))


def spread_factor(spread_B: Tensor, kappa: float) -> Tensor:
    """2 (σ(1 / (κ s + 1e-9)) − ½): 1 when all passes agree, falling with their spread (METHOD.md §5.3)."""
    return 2 * (torch.sigmoid(1 / (kappa * spread_B + 1e-9)) - 0.5)


class Weighting(nn.Module, ABC):
    """Base of the schemes: weights in, weights out, running state in buffers."""

    def __init__(self, config: WeightingConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes

    @abstractmethod
    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """Weigh each clip.

        Args:
            confidence_B: greatest mean probability, in [0, 1].
            spread_B: unbiased standard deviation of the pseudo-label's probability over the passes, ≥ 0.
            pseudo_label_B: int64 class indices.

        Returns:
            (B,) non-negative weights, without gradient.
        """


class Adaptive(Weighting):
    """Adaptive regulation η = confidence factor × spread factor (paper, eq. for η)."""

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """η of METHOD.md §5.3."""
        return confidence_factor(confidence_B, self.config.alpha) * spread_factor(spread_B, self.config.kappa)


class AdaptiveAbove(Adaptive):
    """Adaptive regulation of the clips whose confidence reaches a fixed threshold; the others count nothing."""

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """η · 1[c ≥ τ]."""
        kept_B = (confidence_B >= self.config.threshold).to(confidence_B.dtype)
        return super().weights(confidence_B, spread_B, pseudo_label_B) * kept_B


class Confidence(Weighting):
    """The confidence factor alone."""

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """2 σ(α(e^c − e))."""
        return confidence_factor(confidence_B, self.config.alpha)


class Spread(Weighting):
    """The spread factor alone."""

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """2 (σ(1 / (κ s + 1e-9)) − ½)."""
        return spread_factor(spread_B, self.config.kappa)


class Constant(Weighting):
    """The same weight for every clip."""

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """The constant w."""
        return torch.full_like(confidence_B, self.config.constant)


class RunMean(Adaptive):
    """The running mean of η for every clip: adaptive regulation with its selectivity taken away."""

    mean: Tensor

    def __init__(self, config: WeightingConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.register_buffer("mean", torch.tensor(float("nan")))

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """Mean of η over the run so far, this batch included."""
        now = super().weights(confidence_B, spread_B, pseudo_label_B).mean()
        self.mean = _running(self.mean, now, self.config.momentum)
        return self.mean.to(confidence_B.dtype).expand_as(confidence_B).clone()


class Fixed(Weighting):
    """FixMatch (arXiv 2001.07685): 1 above a fixed confidence, else 0."""

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """1[c ≥ τ]."""
        return (confidence_B >= self.config.threshold).to(confidence_B.dtype)


class FlexMatch(Weighting):
    """FlexMatch (arXiv 2110.08263): the threshold of a class grows with how often it was learnt.

    β_k = n_k / max(max_k n_k, n_unused), with n_k the number of clips seen whose confidence reached τ with label k
    and n_unused the clips seen that never did. Counts are of clips seen over the run (the original keeps the last
    verdict per clip, which needs the clip's identity; here a decaying count stands in for it).
    """

    counts_K: Tensor
    unused: Tensor

    def __init__(self, config: WeightingConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.register_buffer("counts_K", torch.zeros(num_classes))
        self.register_buffer("unused", torch.zeros(()))

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """1[c ≥ τ β_k / (2 − β_k)], with the counts up to and including this batch."""
        sure_B = confidence_B >= self.config.threshold
        fresh_K = torch.bincount(pseudo_label_B[sure_B], minlength=self.num_classes).to(self.counts_K)
        self.counts_K = self.counts_K * self.config.momentum + fresh_K
        self.unused = self.unused * self.config.momentum + (~sure_B).sum()
        beta_K = self.counts_K / torch.maximum(self.counts_K.max(), self.unused).clamp_min(1e-9)
        threshold_B = (self.config.threshold * beta_K / (2 - beta_K))[pseudo_label_B]
        return (confidence_B >= threshold_B).to(confidence_B.dtype)


class FreeMatch(Weighting):
    """FreeMatch (arXiv 2205.07246): self-adaptive global and per-class thresholds.

    The class means p̃ are estimated from (confidence, pseudo-label) pairs, the interface shared by all schemes:
    p̃_k is the running mean of the confidence mass on class k.
    """

    threshold: Tensor
    class_mean_K: Tensor

    def __init__(self, config: WeightingConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.register_buffer("threshold", torch.tensor(1.0 / num_classes))
        self.register_buffer("class_mean_K", torch.full((num_classes,), 1.0 / num_classes))

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """1[c ≥ τ_t p̃_k / max p̃], with τ_t and p̃ updated by this batch first."""
        momentum = self.config.momentum
        self.threshold = _running(self.threshold, confidence_B.mean(), momentum)
        mass_K = torch.zeros_like(self.class_mean_K).index_add_(
            0, pseudo_label_B, confidence_B.to(self.class_mean_K)
        ) / len(confidence_B)
        self.class_mean_K = _running(self.class_mean_K, mass_K, momentum)
        threshold_B = (self.threshold * self.class_mean_K / self.class_mean_K.max())[pseudo_label_B]
        return (confidence_B >= threshold_B).to(confidence_B.dtype)


class SoftMatch(Weighting):
    """SoftMatch (arXiv 2301.10921): a truncated Gaussian of the confidence."""

    mean: Tensor
    variance: Tensor

    def __init__(self, config: WeightingConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.register_buffer("mean", torch.tensor(1.0 / num_classes))
        self.register_buffer("variance", torch.tensor(1.0))

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """exp(−min(c − μ, 0)² / (2 σ² / 4)), with μ and σ² updated by this batch first."""
        self.mean = _running(self.mean, confidence_B.mean(), self.config.momentum)
        if len(confidence_B) > 1:  # the variance of one clip is undefined
            self.variance = _running(self.variance, confidence_B.var(), self.config.momentum)
        short_B = (confidence_B - self.mean).clamp_max(0)
        return torch.exp(-short_B.square() / (2 * self.variance / 4).clamp_min(1e-12))


class UPS(Weighting):
    """UPS (arXiv 2101.06329): confident and certain, 1[c ≥ τ and s < spread_threshold]."""

    def weights(self, confidence_B: Tensor, spread_B: Tensor, pseudo_label_B: Tensor) -> Tensor:
        """1[c ≥ τ and s < spread_threshold]."""
        kept_B = (confidence_B >= self.config.threshold) & (spread_B < self.config.spread_threshold)
        return kept_B.to(confidence_B.dtype)


def _running(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    """Exponential moving average; NaN means nothing was seen yet."""
    new = new.detach().to(old)
    return new.clone() if torch.isnan(old).any() else momentum * old + (1 - momentum) * new


SCHEMES: dict[str, type[Weighting]] = {
    "adaptive": Adaptive,
    "adaptive_above": AdaptiveAbove,
    "confidence": Confidence,
    "spread": Spread,
    "constant": Constant,
    "run_mean": RunMean,
    "fixed": Fixed,
    "flexmatch": FlexMatch,
    "freematch": FreeMatch,
    "softmatch": SoftMatch,
    "ups": UPS,
}


def build_weighting(config: WeightingConfig, num_classes: int) -> Weighting:
    """Make the scheme named by ``config.kind`` for `num_classes` classes."""
    return SCHEMES[config.kind](config, num_classes)
