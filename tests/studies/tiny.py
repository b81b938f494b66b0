"""A real run that takes seconds, for tests of the engine on the method itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sefar.config import TrainConfig
from sefar.data.synthgym import SynthGymConfig
from sefar.recipes import recipe
from studies.engine.spec import TrialSpec


def tiny_config(root: Path, changes: dict[str, Any] | None = None) -> TrainConfig:
    """Three epochs of two steps on rendered clips, without what each process draws for itself."""
    data = SynthGymConfig(
        size=64, train_clips_per_element=6, test_clips_per_element=1, train_performers=3, test_performers=2
    )
    config = recipe(
        "synthgym_tiny",
        {
            "scope.name": "synthgym/event:FX@1pc#0",
            "scope.root": str(root),
            "optim.epochs": 3,
            "optim.steps_per_epoch": 2,
            "objective.warmup_epochs": 1,
            "loader.labelled": 4,
            "loader.workers": 0,
            "model.pretrained": "none",
            "model.dropout": 0.0,
            "model.drop_path": 0.0,
            "optim.optimiser": "sgd",
            "optim.learning_rate": 0.01,
            **(changes or {}),
        },
    )
    values = config.to_dict()
    values["scope"]["synthgym"] = vars(data)
    return TrainConfig.from_dict(values)


def spec_with(config: TrainConfig, trial_id: str) -> TrialSpec:
    return TrialSpec(
        trial_id=trial_id,
        study="s",
        scope=config.scope.name,
        number=0,
        role="default",
        config=config.to_dict(),
        parameters={},
    )
