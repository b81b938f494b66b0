"""Confidence and spread of pseudo-labels, binned, with how many were right: the data behind the paper's Fig. 5."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from sefar.ssl.teacher import PseudoLabels

BINS = 10  # of either
# narrow where spreads lie and where Adaptive Regulation weighs (κ = 20: its factor falls from 0.99 at 0.01 to 0.24 at
# 0.1); a probability's standard deviation is at most about ½, larger values fall into the last bin
SPREAD_EDGES = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5)


class RegulationHistogram:
    """Counts over confidence [low, high) × spread (low, high] of one epoch; a new epoch starts it anew."""

    def __init__(self) -> None:
        self.epoch = 0
        # clips, clips with a hidden label, right pseudo-labels, sum of weights
        self.counts_4CS = torch.zeros(4, BINS, BINS, dtype=torch.float64)

    def add(self, epoch: int, said: PseudoLabels, weight_B: Tensor, hidden_label_B: Tensor) -> None:
        """Count a batch of pseudo-labels."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.counts_4CS.zero_()
        confidence = (said.confidence_B * BINS).long().clamp(0, BINS - 1)
        spread = torch.bucketize(said.spread_B, said.spread_B.new_tensor(SPREAD_EDGES[1:-1]))
        cell_B = (confidence * BINS + spread).cpu()
        known_B = hidden_label_B >= 0
        right_B = known_B & (said.label_B == hidden_label_B)
        for row, value_B in enumerate((torch.ones_like(weight_B), known_B, right_B, weight_B)):
            self.counts_4CS[row].view(-1).index_add_(0, cell_B, value_B.double().cpu())

    def table(self) -> pd.DataFrame:
        """Non-empty cells: epoch, bin edges, clips, known_clips, right_clips, weight_sum."""
        rows = []
        for c, s in self.counts_4CS[0].nonzero().tolist():
            clips, known, right, weight = self.counts_4CS[:, c, s].tolist()
            rows.append(
                {
                    "epoch": self.epoch,
                    "confidence_low": c / BINS,
                    "confidence_high": (c + 1) / BINS,
                    "spread_low": SPREAD_EDGES[s],
                    "spread_high": SPREAD_EDGES[s + 1],
                    "clips": int(clips),
                    "known_clips": int(known),
                    "right_clips": int(right),
                    "weight_sum": weight,
                }
            )
        columns = ["epoch", "confidence_low", "confidence_high", "spread_low", "spread_high"]
        return pd.DataFrame(rows, columns=[*columns, "clips", "known_clips", "right_clips", "weight_sum"])

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"epoch": self.epoch, "counts": self.counts_4CS.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.epoch, self.counts_4CS = state["epoch"], state["counts"].clone()
