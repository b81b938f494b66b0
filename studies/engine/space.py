"""The search space as data: parameters named by their dotted configuration key, some only under a condition."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sefar.config import TrainConfig
from sefar.errors import ConfigError, nearest


class Suggests(Protocol):
    """The part of an Optuna trial that a space needs."""

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """Choose one."""
        ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Choose from a range."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter: `choices`, or a range from `low` to `high`.

    Attributes:
        name: dotted configuration key.
        choices: values to choose from; empty for a range.
        low: least value.
        high: greatest value.
        step: grid of the range; None: continuous.
        log: search on a logarithmic scale.
        when: the parameter exists only while the (earlier) parameter named here has one of these values.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    step: float | None = None
    log: bool = False
    when: tuple[str, tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        if not self.choices and not self.low < self.high:
            raise ConfigError(f"search space: {self.name}: expected low < high, got {self.low} and {self.high}")

    def active(self, chosen: Mapping[str, Any]) -> bool:
        """Whether the parameter exists beside the values chosen so far."""
        return self.when is None or chosen.get(self.when[0]) in self.when[1]

    def admits(self, value: Any) -> bool:
        """Whether the value can be chosen."""
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        on_grid = (
            self.step is None or abs((value - self.low) / self.step - round((value - self.low) / self.step)) < 1e-9
        )
        return self.low <= value <= self.high and on_grid

    def suggest(self, trial: Suggests) -> Any:
        """Ask the trial for a value."""
        if self.choices:
            return trial.suggest_categorical(self.name, list(self.choices))
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def describe(self) -> tuple[str, str, str]:
        """Name, values and condition, for a table."""
        if self.choices:
            values = " | ".join(str(c) for c in self.choices)
        else:
            how = f", step {self.step:g}" if self.step else ", log" if self.log else ""
            values = f"{self.low:g} … {self.high:g}{how}"
        condition = f"{self.when[0]} = {' or '.join(str(v) for v in self.when[1])}" if self.when else "always"
        return self.name, values, condition


@dataclass(frozen=True)
class Space:
    """Parameters in the order in which they are chosen."""

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for parameter in self.parameters:
            if parameter.when and parameter.when[0] not in seen:
                raise ConfigError(
                    f"search space: {parameter.name} depends on '{parameter.when[0]}', which does not come before it"
                    f"{nearest(parameter.when[0], seen)}"
                )
            seen.add(parameter.name)

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """Choose a value for each parameter that exists."""
        chosen: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.active(chosen):
                chosen[parameter.name] = parameter.suggest(trial)
        return chosen

    def locate(self, config: TrainConfig) -> dict[str, Any] | None:
        """The point of the space that a configuration is, or None when it lies outside."""
        flat = config.flatten()
        chosen: dict[str, Any] = {}
        for parameter in self.parameters:
            if not parameter.active(chosen):
                continue
            value = flat[parameter.name]
            if not parameter.admits(value):
                return None
            chosen[parameter.name] = value
        return chosen

    def check(self, config: TrainConfig) -> None:
        """Make sure that every value is one the configuration takes.

        Raises:
            ConfigError: a name or value that `TrainConfig` refuses.
        """
        for parameter in self.parameters:
            for value in parameter.choices or (parameter.low, parameter.high):
                config.override({parameter.name: value})

    def table(self) -> list[tuple[str, str, str]]:
        """Rows of name, values and condition."""
        return [parameter.describe() for parameter in self.parameters]

    @property
    def hash(self) -> str:
        """Eight hex digits that change with anything in the space."""
        plain = [[*p.describe(), p.choices, p.low, p.high, p.step, p.log] for p in self.parameters]
        return hashlib.sha256(json.dumps(plain, default=str).encode()).hexdigest()[:8]


PERTURBATIONS = ("reverse_fine", "none", "drop", "shuffle_fine", "warp", "reverse_all")
MOVING = tuple(kind for kind in PERTURBATIONS if kind != "none")

SCOPE_SWEEP = Space(
    (
        Parameter(name="perturb.kind", choices=PERTURBATIONS),
        Parameter(name="perturb.strength", low=0.25, high=1.0, step=0.25, when=("perturb.kind", MOVING)),
        Parameter(name="weighting.kind", choices=("adaptive", "fixed")),
        Parameter(name="weighting.threshold", low=0.5, high=0.95, step=0.05, when=("weighting.kind", ("fixed",))),
        Parameter(name="weighting.kappa", low=5.0, high=80.0, log=True, when=("weighting.kind", ("adaptive",))),
        Parameter(name="weighting.alpha", low=0.25, high=4.0, log=True, when=("weighting.kind", ("adaptive",))),
        Parameter(name="objective.gamma_unlabelled", low=0.5, high=4.0, log=True),
        Parameter(name="objective.gamma_mix", low=0.0, high=4.0, step=0.5),
    )
)
