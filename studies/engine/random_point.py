"""Points of a search space by chance alone: what a search is compared with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from studies.engine.space import Space


class _Chance:
    """Chooses as an Optuna trial would, at random."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return choices[int(self._rng.integers(len(choices)))]

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if step is not None:
            return low + step * int(self._rng.integers(round((high - low) / step) + 1))
        if log:
            return min(high, max(low, math.exp(self._rng.uniform(math.log(low), math.log(high)))))
        return float(self._rng.uniform(low, high))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        if log:
            return min(high, max(low, round(math.exp(self._rng.uniform(math.log(low), math.log(high))))))
        return low + step * int(self._rng.integers((high - low) // step + 1))


def random_point(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """A point of the space, each parameter drawn from its own range."""
    return space.suggest(_Chance(rng))
