from __future__ import annotations

import torch

from sefar.ssl.teacher import PseudoLabels
from sefar.training.regulation import BINS, SPREAD_EDGES, RegulationHistogram

# κ of Adaptive Regulation sees differences between these spreads; each has a bin of its own
SAID = PseudoLabels(
    probs_BK=torch.zeros(5, 3),
    label_B=torch.tensor([0, 1, 2, 0, 1]),
    confidence_B=torch.tensor([0.05, 0.95, 1.0, 0.95, 0.95]),
    spread_B=torch.tensor([0.0, 0.005, 0.007, 0.005, 0.9]),
)
WEIGHT_B = torch.tensor([0.0, 0.5, 1.0, 0.25, 0.125])
HIDDEN_B = torch.tensor([0, 1, 1, -1, 1])  # −1: nobody knows


def test_counts_of_a_batch() -> None:
    histogram = RegulationHistogram()
    histogram.add(3, SAID, WEIGHT_B, HIDDEN_B)
    table = histogram.table()
    assert table.to_dict("split")["data"] == [
        [3, 0.0, 0.1, 0.0, 0.005, 1, 1, 1, 0.0],
        [3, 0.9, 1.0, 0.0, 0.005, 2, 1, 1, 0.75],
        [3, 0.9, 1.0, 0.005, 0.01, 1, 1, 0, 1.0],
        [3, 0.9, 1.0, 0.2, 0.5, 1, 1, 1, 0.125],
    ]
    assert table.columns.tolist()[1:6] == ["confidence_low", "confidence_high", "spread_low", "spread_high", "clips"]


def test_an_epoch_starts_anew_and_resumes() -> None:
    histogram = RegulationHistogram()
    histogram.add(1, SAID, WEIGHT_B, HIDDEN_B)
    histogram.add(2, SAID, WEIGHT_B, HIDDEN_B)
    assert histogram.table().clips.sum() == 5
    other = RegulationHistogram()
    other.load_state_dict(histogram.state_dict())
    other.add(2, SAID, WEIGHT_B, HIDDEN_B)
    assert other.table().clips.sum() == 10
    assert histogram.table().clips.sum() == 5


def test_edges_rise_and_are_as_many_as_bins() -> None:
    assert len(SPREAD_EDGES) == BINS + 1
    assert list(SPREAD_EDGES) == sorted(set(SPREAD_EDGES))
