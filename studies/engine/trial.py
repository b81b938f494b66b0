"""The inline trial: a class Trainable whose actor is reused from trial to trial."""

from __future__ import annotations

import gc
import logging
from typing import Any

import torch
from ray import tune

from sefar.errors import SefarError, StoreError
from studies.engine.spec import TrialSpec
from studies.engine.trial_run import RunSettings, TrialRun, one_line

log = logging.getLogger(__name__)


class InlineTrial(tune.Trainable):
    """Trains one epoch a step, in the actor itself.

    An error meant for the user ends the trial with a result (``failed``) instead of an exception, because Tune would
    throw the warm actor away with the exception. Checkpoints go through `TrialRun`, not through Tune: they are named by
    our trial ids, so that another run can find them.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing yet: what can fail belongs into `step`, where it is caught."""
        self._run: TrialRun | None = None
        self._planned = config

    def step(self) -> dict[str, Any]:
        """Train an epoch."""
        try:
            if self._run is None:
                settings = RunSettings.from_json(self._planned["settings"])
                torch.set_num_threads(settings.threads)
                self._run = TrialRun(TrialSpec.from_json(self._planned["spec"]), settings, self._planned["planned"])
            return self._run.step()
        except StoreError as error:
            return _fatal(error)
        except SefarError as error:
            return self._failed(error)
        except Exception as error:
            log.exception("trial failed")
            if torch.cuda.is_available():
                raise  # after a CUDA error the process is of no use: let Tune replace it
            return self._failed(error)

    def _failed(self, error: Exception) -> dict[str, Any]:
        if self._run is None:
            return _fatal(error)  # without a row there is nowhere to record it
        try:
            return {"done": True, "failed": self._run.fail(error), "epoch": self._run.row["epochs_done"]}
        except StoreError as worse:
            return _fatal(worse)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make ready for the next trial."""
        self.cleanup()
        self._planned = new_config
        return True

    def cleanup(self) -> None:
        """Let go of the trial."""
        if self._run is not None:
            self._run.close()
        self._run = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _fatal(error: Exception) -> dict[str, Any]:
    """A result that stops the whole sweep."""
    return {"done": True, "failed": one_line(error), "fatal": True, "epoch": 0}
