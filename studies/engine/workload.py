"""What a trial trains: the one place where the engine meets the method, so that tests can put a toy in its place."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import pandas as pd

from sefar.config import TrainConfig


class Trains(Protocol):
    """The part of `sefar.training.trainer.Trainer` that a trial uses."""

    epochs: int
    scope: Any
    device: Any

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        ...

    def train_epoch(self) -> Any:
        """Train one epoch; a report with ``to_dict()``."""
        ...

    def evaluate(self, part: str) -> Any:
        """Metrics and predictions of ``test``."""
        ...

    def regulation(self) -> pd.DataFrame:
        """Binned confidence and spread."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class Workload(Protocol):
    """Makes trainers."""

    def prepare(self, config: TrainConfig) -> str:
        """Bring the scope's clips to disk before any trial starts; the split's hash."""
        ...

    def trainer(self, config: TrainConfig) -> Trains:
        """A trainer at epoch 0."""
        ...


class SefarWorkload:
    """The method itself."""

    def prepare(self, config: TrainConfig) -> str:
        """Resolve the scope; SynthGym clips it needs are rendered, with a progress bar."""
        from sefar.data.scopes import load_scope

        return load_scope(config.scope, progress=True).split_hash

    def trainer(self, config: TrainConfig) -> Trains:
        """A trainer on a GPU where Ray has assigned one, else on the CPU."""
        from sefar.data.scopes import load_scope
        from sefar.training.trainer import Trainer

        return Trainer(config, load_scope(config.scope, progress=False))


DEFAULT_WORKLOAD = "studies.engine.workload:SefarWorkload"


def load_workload(name: str) -> Workload:
    """Make the workload named ``module:Class``."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)()
