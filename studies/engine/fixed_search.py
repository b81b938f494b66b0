"""The searcher of a stage whose trials are known beforehand."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from studies.engine.spec import TrialSpec
from studies.results.schema import METRIC


class FixedSearch(Searcher):
    """Deals the given trials in order.

    Args:
        specs: the trials.
        planned: trials of each scope in the end, for the record; of a scope without one, as many as are dealt.
    """

    def __init__(self, specs: list[TrialSpec], planned: Mapping[str, int]) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._specs = list(specs)
        self._planned = {**Counter(spec.scope for spec in specs), **planned}

    @property
    def left(self) -> int:
        """Trials still to start."""
        return len(self._specs)

    def suggest(self, trial_id: str) -> Any:
        """The configuration of Tune's next trial."""
        if not self._specs:
            return Searcher.FINISHED
        spec = self._specs.pop(0)
        return {"spec": spec.to_json(), "planned": self._planned[spec.scope]}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn."""

    def save(self, checkpoint_path: str) -> None:
        """Satisfy Tune; nothing is ever read back, the store is the truth."""
        Path(checkpoint_path).write_bytes(pickle.dumps({"left": self.left}))

    def restore(self, checkpoint_path: str) -> None:
        """Not supported: resuming goes through the store."""
        raise NotImplementedError("resume a sweep from its result store")
