"""The search space as data: parameters named by their dotted configuration key, some only under a condition."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Choose a whole number from a range."""
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
        integer: whole numbers only.
        when: the parameter exists only while the (earlier) parameter named here has one of these values.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    step: float | None = None
    log: bool = False
    integer: bool = False
    when: tuple[str, tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        if any(self.choices.count(choice) > 1 for choice in self.choices):
            raise ConfigError(f"search space: {self.name}: a choice is given twice: {_listed(self.choices)}")
        if not self.choices and (fault := self._range_fault()):
            raise ConfigError(f"search space: {self.name}: {fault}")

    def _range_fault(self) -> str | None:
        """What is wrong with the range."""
        if not self.low < self.high:
            return f"expected low < high, got {self.low} and {self.high}"
        if self.step is not None and self.log:
            return "expected a step or log, not both"
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            return f"expected a step in (0, {self.high - self.low:g}], got {self.step:g}"
        if self.integer and any(not float(v).is_integer() for v in (self.low, self.high, self.step or 1)):
            return f"expected whole numbers, got {self._values()}"
        if self.step is not None and not self.admits(self.high):
            return f"expected high on the grid, a whole number of steps of {self.step:g} from low, got {self.high:g}"
        if self.log and self.low <= 0:
            return f"expected low > 0 for a logarithmic scale, got {self.low:g}"
        return None

    def active(self, chosen: Mapping[str, Any]) -> bool:
        """Whether the parameter exists beside the values chosen so far."""
        return self.when is None or chosen.get(self.when[0]) in self.when[1]

    def admits(self, value: Any) -> bool:
        """Whether the value can be chosen."""
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.integer and not float(value).is_integer():
            return False
        on_grid = (
            self.step is None or abs((value - self.low) / self.step - round((value - self.low) / self.step)) < 1e-9
        )
        return self.low <= value <= self.high and on_grid

    def suggest(self, trial: Suggests) -> Any:
        """Ask the trial for a value."""
        if self.choices:
            return trial.suggest_categorical(self.name, list(self.choices))
        if self.integer:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(self.name, low, high, step=step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def _values(self) -> str:
        if self.choices:
            return _listed(self.choices)
        step = 1 if self.integer and not self.log and self.step is None else self.step
        return f"{self.low:g} … {self.high:g}" + (f", step {step:g}" if step else ", log" if self.log else "")

    def describe(self) -> tuple[str, str, str]:
        """Name, values and condition, for a table."""
        condition = f"{self.when[0]} = {' or '.join(str(v) for v in self.when[1])}" if self.when else "always"
        return self.name, self._values(), condition

    def change(self, new: Parameter) -> str:
        """What `new` has made of the parameter, in words; empty when nothing."""
        parts = []
        if self.choices and new.choices:
            for verb, one, other in (("lost", self, new), ("gained", new, self)):
                if odd := [repr(c) for c in one.choices if c not in other.choices]:
                    parts.append(f"{verb} {', '.join(odd)}")
            if not parts and self.choices != new.choices:
                parts.append(f"changed the order of its choices to {_listed(new.choices)}")
        elif self._values() != new._values():
            parts.append(f"{self._values()} → {new._values()}")
        elif (self.low, self.high, self.step) != (new.low, new.high, new.step):
            parts.append(f"{self.low!r} … {self.high!r} → {new.low!r} … {new.high!r}")
        if self.integer != new.integer:
            parts.append("takes whole numbers only" if new.integer else "takes any numbers")
        (*_, was), (*_, now) = self.describe(), new.describe()
        if was != now:
            parts.append(f"[{was}] → [{now}]")
        return f"{self.name} {' and '.join(parts)}" if parts else ""


def _listed(choices: tuple[Any, ...]) -> str:
    return " | ".join(str(choice) for choice in choices)


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
        """Rows of name, values and condition; a condition that most choices meet says which do not."""
        choices = {parameter.name: parameter.choices for parameter in self.parameters}
        rows = []
        for parameter in self.parameters:
            name, values, condition = parameter.describe()
            if parameter.when:
                of, meeting = parameter.when
                odd = [str(choice) for choice in choices[of] if choice not in meeting]
                if odd and 2 * len(odd) < len(choices[of]):
                    condition = f"{of} ≠ {' or '.join(odd)}"
            rows.append((name, values, condition))
        return rows

    @property
    def hash(self) -> str:
        """Eight hex digits that change with anything in the space."""
        plain = [
            [*p.describe(), p.choices, p.low, p.high, p.step, p.log] + ["integer"] * p.integer for p in self.parameters
        ]
        return hashlib.sha256(json.dumps(plain, default=str).encode()).hexdigest()[:8]

    def to_json(self) -> str:
        """As text, for the record."""
        return json.dumps([asdict(parameter) for parameter in self.parameters])

    @classmethod
    def from_json(cls, text: str) -> Space:
        """From `to_json`."""
        return cls(tuple(_parameter(fields) for fields in json.loads(text)))

    def changes(self, new: Space) -> str:
        """What `new` has made of the space, in words: ``weighting.threshold 0.5 … 0.95 → 0.6 … 0.9; …``."""
        was, now = ({p.name: p for p in space.parameters} for space in (self, new))
        parts = [was[name].change(now[name]) for name in was if name in now]
        parts += [f"{name} is no longer searched" for name in was if name not in now]
        parts += [f"{name} is searched too" for name in now if name not in was]
        if not any(parts) and list(was) != list(now):
            parts.append("the order of its parameters has changed")
        return "; ".join(part for part in parts if part)


def _parameter(fields: dict[str, Any]) -> Parameter:
    when = fields["when"] and (fields["when"][0], tuple(fields["when"][1]))
    return Parameter(**fields | {"choices": tuple(fields["choices"]), "when": when})


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
        # the passes S whose spread the weights follow; only the classifier's head runs S times
        Parameter(name="teacher.passes", low=4, high=20, step=2, integer=True, when=("weighting.kind", ("adaptive",))),
        Parameter(name="objective.gamma_unlabelled", low=0.5, high=4.0, log=True),
        Parameter(name="objective.gamma_mix", low=0.0, high=4.0, step=0.5),
    )
)
