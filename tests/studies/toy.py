"""A workload that trains nothing: accuracy follows a formula, so sweeps can be checked by hand in seconds."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from sefar.config import TrainConfig
from sefar.errors import DecodeError


class ToyTrainer:
    device = "cpu"

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.epoch, self.epochs = config, 0, config.optim.epochs
        self.scope = SimpleNamespace(
            split_hash="toy-" + os.environ.get("TOY_SPLIT", "0"),
            sizes={"labelled_clips": 12, "unlabelled_clips": 30, "classes": 2},
            missing={"labelled": 0, "test": 3},
        )
        supervised = config.objective.gamma_unlabelled == 0 and config.objective.gamma_mix == 0
        self.ceiling = 40.0 if supervised else 60 + 10 * config.perturb.strength - config.objective.gamma_mix

    def train_epoch(self) -> Any:
        time.sleep(float(os.environ.get("TOY_EPOCH_SECONDS", "0")))
        if os.environ.get("TOY_DIES"):
            os._exit(9)  # as the kernel ends a process that wants too much memory
        if self.config.scope.name.startswith("synthgym/set:broken"):
            raise DecodeError("clips/a.mp4: frame 3 does not decode (truncated); render or fetch the clip again")
        self.epoch += 1
        value = self.ceiling * self.epoch / self.epochs
        row = {"epoch": self.epoch, "step": 10 * self.epoch, "dev_student_top1": value, "dev_teacher_top1": value + 1}
        return SimpleNamespace(to_dict=lambda: row | {"train_seconds": 0.1, "eval_seconds": 0.0, "total_loss": 1.0})

    def evaluate(self, part: str) -> Any:
        clips = pd.DataFrame(
            {
                "clip_id": ["a", "b"],
                "path": ["a.mp4", "b.mp4"],
                "start_frame": [0, 5],
                "end_frame": [9, 14],
                "label": [0, 1],
                "student_top5": [[0, 1], [1, 0]],
                "teacher_top5": [[0, 1], None],
                "confidence": [0.9, 0.8],
                "spread": [0.1, np.nan],
            }
        )
        return SimpleNamespace(metrics={"student_top1": self.ceiling, "teacher_top1": 1.0}, predictions=clips)

    def regulation(self) -> pd.DataFrame:
        return pd.DataFrame()

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "weight": torch.zeros(2)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]

    def close(self) -> None:
        pass


class ToyWorkload:
    def prepare(self, config: TrainConfig, *, decode: bool = True) -> str:
        return "toy-" + os.environ.get("TOY_SPLIT", "0")

    def cost(self, config: TrainConfig) -> float:
        return 1.0 if "event:UB" in config.scope.name else 2.0

    def trainer(self, config: TrainConfig, processes: int = 1, *, world=None, device=None) -> ToyTrainer:
        return ToyTrainer(config)
