from __future__ import annotations

import math

import pytest
import torch

from sefar.ssl.objective import ObjectiveConfig, mixed_loss, ramp, supervised_loss, total_loss, unlabelled_loss


def logits(*probs: float) -> torch.Tensor:
    """Logits whose softmax is `probs`."""
    return torch.tensor([probs]).log()


def test_mixed_loss_of_probabilities_and_of_logits() -> None:
    target, weight = torch.tensor([[0.5, 0.5]]), torch.tensor([2.0])
    # probabilities (¼, ¾) miss the target by ¼ each
    assert mixed_loss(logits(0.25, 0.75), target, weight, "probs").item() == pytest.approx(2 * 0.0625)
    low, high = math.log(0.25) - 0.5, math.log(0.75) - 0.5
    raw = mixed_loss(logits(0.25, 0.75), target, weight, "logits").item()
    assert raw == pytest.approx(2 * (low**2 + high**2) / 2, rel=1e-6)


def test_weights_count_clips_and_not_their_sum() -> None:
    both = torch.cat([logits(0.25, 0.75), logits(0.5, 0.5)])
    label = torch.tensor([1, 0])
    assert supervised_loss(both, label).item() == pytest.approx((-math.log(0.75) - math.log(0.5)) / 2)
    # the mean over clips, whatever their weights add up to
    loss = unlabelled_loss(both, label, torch.tensor([0.5, 0.0])).item()
    assert loss == pytest.approx(-0.5 * math.log(0.75) / 2)


def test_ramp_and_total() -> None:
    assert [ramp(e, 4, 1) for e in range(4)] == pytest.approx([0, 0.5, math.sqrt(0.75), 1])
    config = ObjectiveConfig(gamma_unlabelled=2.0, gamma_mix=3.0)
    one = torch.tensor(1.0)
    assert total_loss(one, one, one, config, 0.5).item() == 1 + 0.5 * (2 + 3)
