"""How much work the studies do by default: the only place to tune it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sefar.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A size of a sweep.

    Attributes:
        about: one line for ``--help``.
        recipe: named configuration that trials depart from.
        scopes: label scopes.
        trials: trials a scope, the paper's default and the supervised baseline included.
        overrides: on the recipe.
        confirm: best configurations of each scope that are run anew over seeds; 0: none.
    """

    about: str
    recipe: str = "synthgym_tiny"
    scopes: tuple[str, ...] = ("synthgym/core@1pc#0", "synthgym/core@3pc#0")
    trials: int = 6
    overrides: dict[str, Any] = field(default_factory=dict)
    confirm: int = 0


PRESETS = {
    "quick": Preset(
        about="a smoke test: 3 trials a scope, 3 epochs",
        trials=3,
        overrides={"optim.epochs": 3, "optim.steps_per_epoch": 6, "objective.warmup_epochs": 1, "evaluation.views": 1},
    ),
    "default": Preset(
        about="6 trials on each of two scopes, 8 short epochs, minutes on two cores",
        trials=6,
        overrides={"loader.labelled": 8, "optim.epochs": 8, "optim.steps_per_epoch": 12},
    ),
    "full": Preset(
        about="24 trials on each of four scopes, the 3 best confirmed over seeds; many hours on two cores",
        scopes=(
            "synthgym/core@1pc#0",
            "synthgym/core@3pc#0",
            "synthgym/event:FX@1pc#0",
            "synthgym/pairs@1pc#0",
        ),
        trials=24,
        overrides={"optim.epochs": 20},
        confirm=3,
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PRESETS:
        raise ConfigError(f"--preset: '{name}' is unknown{nearest(name, PRESETS)}")
    return PRESETS[name]
