from __future__ import annotations

import pytest

from sefar.config import TrainConfig
from sefar.data.scopes import Scope, load_scope
from sefar.data.synthgym import SynthGymConfig
from sefar.recipes import recipe


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A real, very short run on real clips: 12 classes, 64 px, two epochs of two steps after one of warm-up."""
    data = SynthGymConfig(
        size=64, train_clips_per_element=6, test_clips_per_element=1, train_performers=3, test_performers=2
    )
    config = recipe(
        "synthgym_tiny",
        {
            "scope.name": "synthgym/event:FX@1pc#0",
            "scope.root": str(tmp_path_factory.mktemp("data")),
            "optim.epochs": 3,
            "optim.steps_per_epoch": 2,
            "objective.warmup_epochs": 1,
            "loader.labelled": 4,
            "model.pretrained": "none",
        },
    )
    values = config.to_dict()
    values["scope"]["synthgym"] = vars(data)
    return TrainConfig.from_dict(values)


@pytest.fixture(scope="session")
def tiny_scope(tiny_config: TrainConfig) -> Scope:
    return load_scope(tiny_config.scope, progress=False)
