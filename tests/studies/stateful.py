"""A toy whose losses depend on all epochs before: a trial resumed from the wrong state shows it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from sefar.config import TrainConfig
from tests.studies.toy import ToyTrainer, ToyWorkload


class StatefulTrainer(ToyTrainer):
    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.carry = torch.tensor(0.1 + config.perturb.strength / 7, dtype=torch.float64)
        if folder := os.environ.get("TOY_PIDS"):
            Path(folder, str(os.getpid())).touch()

    def train_epoch(self) -> Any:
        row = super().train_epoch().to_dict()
        self.carry = (self.carry * 3.7 * (1 - self.carry)).detach()  # chaotic: any difference grows
        row["total_loss"] = float(self.carry)
        return SimpleNamespace(to_dict=lambda: row)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "carry": self.carry}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.carry = state["epoch"], state["carry"]


class StatefulWorkload(ToyWorkload):
    def trainer(self, config: TrainConfig, processes: int = 1, *, world=None, device=None) -> StatefulTrainer:
        return StatefulTrainer(config)
