"""Values that no field accepts, whoever owns it."""

from __future__ import annotations

import re

import pytest

from sefar.config import TrainConfig
from sefar.errors import ConfigError

DEFAULT = TrainConfig()
FLOATS = sorted(key for key, value in DEFAULT.flatten().items() if isinstance(value, float))


@pytest.mark.parametrize("key", [*FLOATS, "teacher.decay"])
@pytest.mark.parametrize("value", ["nan", "inf", float("-inf"), "1" + 400 * "0"])
def test_numbers_are_finite(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(key)}: expected a finite number, got (nan|-?inf|10+)$"):
        DEFAULT.override({key: value})


def test_numbers_of_a_sequence_are_finite() -> None:
    with pytest.raises(ConfigError, match=r"^optim\.milestones: expected a finite number, got nan$"):
        DEFAULT.override({"optim.milestones": "[0.5, NaN]"})
    with pytest.raises(ConfigError, match=r"^optim\.epochs: expected int, got inf$"):
        DEFAULT.override({"optim.epochs": "inf"})


def test_seeds_and_sizes_have_a_range() -> None:
    for seed in (-1, 2**63):
        with pytest.raises(ConfigError, match=rf"^seed: expected an integer in \[0, 2\^63\), got {seed}$"):
            DEFAULT.override({"seed": seed})
    with pytest.raises(ConfigError, match=r"^views\.size: expected an integer ≥ 1, got -16$"):
        DEFAULT.override({"views.size": -16})
