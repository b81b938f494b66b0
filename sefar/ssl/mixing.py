"""Tube token mixing: two clips' patch tokens in one, under a mask that is the same in every frame (METHOD.md §5.5).

Shape suffixes: B clips, G granularities, N patches, T frames, D width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sefar.errors import ConfigError, nearest

PREDICTIONS = ("probs", "logits")
PARTNERS = ("shared", "per_granularity")


@dataclass(frozen=True, kw_only=True)
class MixingConfig:
    """Tube token mixing.

    Attributes:
        beta: both parameters of the Beta distribution of the ratio r.
        prediction: what is compared with the mixed target: ``probs`` (paper) or raw ``logits`` (release, §6 row 5).
        partner: one permutation ``shared`` by all granularities, or one ``per_granularity`` of which the targets use
            the last (release, §6 row 2).
    """

    beta: float = 10.0
    prediction: str = "probs"
    partner: str = "shared"

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise ConfigError(f"mixing.beta: expected a number > 0, got {self.beta}")
        if self.prediction not in PREDICTIONS:
            raise ConfigError(
                f"mixing.prediction: '{self.prediction}' is unknown{nearest(self.prediction, PREDICTIONS)}"
            )
        if self.partner not in PARTNERS:
            raise ConfigError(f"mixing.partner: '{self.partner}' is unknown{nearest(self.partner, PARTNERS)}")


@dataclass(frozen=True)
class Mix:
    """One draw of the mixing: who is mixed with whom, where, and in what proportion.

    Attributes:
        ratio: r, the clip's own share, in (0, 1).
        tube_mask_GN: bool, True where the clip's own token stays; ⌊r N⌋ per granularity.
        partner_GB: int64, the partner clip of each clip, per granularity.
    """

    ratio: float
    tube_mask_GN: Tensor
    partner_GB: Tensor


def draw_mix(config: MixingConfig, batch: int, granularities: int, patches: int, generator: torch.Generator) -> Mix:
    """Draw ratio, tube masks and partners from the CPU generator."""
    # Beta(b, b) from two Gamma draws; torch's distributions take no generator, its gamma kernel does
    gamma_2 = torch._standard_gamma(torch.full((2,), config.beta, dtype=torch.float64), generator=generator)
    ratio = float(gamma_2[0] / gamma_2.sum())
    own = int(ratio * patches)
    rank_GN = torch.rand(granularities, patches, generator=generator).argsort(1).argsort(1)
    draws = granularities if config.partner == "per_granularity" else 1
    partner = torch.stack([torch.randperm(batch, generator=generator) for _ in range(draws)])
    return Mix(ratio, rank_GN < own, partner.expand(granularities, -1))


def mix_tokens(own_BTND: Tensor, other_BTND: Tensor, mix: Mix, granularity: int) -> Tensor:
    """Mix the tokens of one granularity.

    Args:
        own_BTND: tokens of the clips themselves.
        other_BTND: tokens the partners are taken from (the same clips without channel dropout).
        mix: the draw.
        granularity: which row of the draw.

    Returns:
        (B, T, N, D): a clip's own tokens inside the mask, its partner's outside.
    """
    mask_N1 = mix.tube_mask_GN[granularity].to(own_BTND.device)[:, None]
    partner_B = mix.partner_GB[granularity].to(own_BTND.device)
    return torch.where(mask_N1, own_BTND, other_BTND[partner_B])


def mix_targets(probs_BK: Tensor, weight_B: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
    """Target r p̄_b + (1 − r) p̄_π(b), shape (B, K), and weight r η_b + (1 − r) η_π(b), shape (B,)."""
    partner_B = mix.partner_GB[-1].to(probs_BK.device)
    r = mix.ratio
    return r * probs_BK + (1 - r) * probs_BK[partner_B], r * weight_B + (1 - r) * weight_B[partner_B]
