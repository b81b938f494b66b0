from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sefar.errors import ConfigError
from sefar.ssl.weighting import SCHEMES, WeightingConfig, build_weighting

CONFIDENCE = torch.tensor([0.95, 0.6, 0.3])
SPREAD = torch.tensor([0.01, 0.2, 0.04])
LABEL = torch.tensor([0, 1, 1])


def weigh(kind: str, classes: int = 3, calls: int = 1, **parameters: float) -> Tensor:
    scheme = build_weighting(WeightingConfig(kind=kind, **parameters), classes)
    for _ in range(calls):
        weight = scheme.weights(CONFIDENCE, SPREAD, LABEL)
    return weight


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_adaptive_by_hand() -> None:
    expected = [
        2 * sigmoid(math.exp(c) - math.e) * 2 * (sigmoid(1 / (20 * s + 1e-9)) - 0.5)
        for c, s in zip(CONFIDENCE.tolist(), SPREAD.tolist(), strict=True)
    ]
    assert weigh("adaptive").tolist() == pytest.approx(expected, abs=1e-6)
    product = weigh("confidence") * weigh("spread")
    assert product.tolist() == pytest.approx(expected, abs=1e-6)
    assert weigh("adaptive_above", threshold=0.5).tolist() == pytest.approx([*expected[:2], 0], abs=1e-6)
    assert weigh("run_mean").tolist() == pytest.approx([sum(expected) / 3] * 3, abs=1e-6)


def test_certain_and_agreed_weighs_one() -> None:
    scheme = build_weighting(WeightingConfig(), 3)
    assert scheme.weights(torch.ones(1), torch.zeros(1), torch.zeros(1, dtype=torch.int64)).item() == pytest.approx(1)


def test_fixed_constant_and_ups() -> None:
    assert weigh("fixed", threshold=0.6).tolist() == [1, 1, 0]
    assert weigh("constant", constant=0.25).tolist() == [0.25] * 3
    assert weigh("ups", threshold=0.3, spread_threshold=0.05).tolist() == [1, 0, 1]


def test_flexmatch_lowers_the_threshold_of_rare_classes() -> None:
    # one sure clip of class 0, none of class 1, two unsure: β_0 = 1/max(1, 2) = ½, β_1 = 0, thresholds 0.9·(½/1.5), 0
    assert weigh("flexmatch", threshold=0.9).tolist() == [1, 1, 1]
    scheme = build_weighting(WeightingConfig(kind="flexmatch", threshold=0.9), 2)
    sure = torch.full((4,), 0.95)
    assert scheme.weights(sure, SPREAD[:1].expand(4), torch.zeros(4, dtype=torch.int64)).tolist() == [1] * 4
    # now β_0 = 1: the threshold of class 0 is 0.9 · 1 / (2 − 1)
    low = scheme.weights(torch.tensor([0.85]), SPREAD[:1], torch.tensor([0]))
    assert low.tolist() == [0]


def test_freematch_by_hand() -> None:
    # momentum 0: τ = mean c; p̃ = confidence mass per class / clips
    tau = sum(CONFIDENCE.tolist()) / 3
    mass = [0.95 / 3, 0.9 / 3]
    expected = [float(c >= tau * mass[k] / max(mass)) for c, k in zip([0.95, 0.6, 0.3], [0, 1, 1], strict=True)]
    assert weigh("freematch", momentum=0.0).tolist() == expected == [1, 1, 0]


def test_softmatch_by_hand() -> None:
    mean, variance = CONFIDENCE.mean().item(), CONFIDENCE.var().item()
    expected = [math.exp(-(min(c - mean, 0) ** 2) / (2 * variance / 4)) for c in CONFIDENCE.tolist()]
    assert weigh("softmatch", momentum=0.0).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", SCHEMES)
def test_state_round_trip_continues_the_run(kind: str) -> None:
    config = WeightingConfig(kind=kind)
    whole, first, second = (build_weighting(config, 3) for _ in range(3))
    whole.weights(CONFIDENCE, SPREAD, LABEL)
    first.weights(CONFIDENCE, SPREAD, LABEL)
    second.load_state_dict(first.state_dict())
    later = (CONFIDENCE.flip(0), SPREAD, LABEL)
    assert torch.equal(whole.weights(*later), second.weights(*later))


def test_unknown_scheme_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'adaptive'"):
        WeightingConfig(kind="adaptve")
    with pytest.raises(ConfigError, match="threshold"):
        WeightingConfig(threshold=1.2)
