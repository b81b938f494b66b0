"""The inline trial: a class Trainable whose actor is reused from trial to trial."""

from __future__ import annotations

import logging
from typing import Any

import torch
from ray import tune

from sefar.errors import SefarError, StoreError, TrainingError
from studies.engine.memory import MemoryWatch, cap_gpu_memory
from studies.engine.spec import TrialSpec
from studies.engine.temporary import remove_abandoned
from studies.engine.trial_run import RunSettings, TrialRun, one_line

log = logging.getLogger(__name__)


class InlineTrial(tune.Trainable):
    """Trains one epoch a step, in the actor itself.

    An error meant for the user ends the trial with a result (``failed``) instead of an exception, because Tune would
    throw the warm actor away with the exception. Checkpoints go through `TrialRun`, not through Tune: they are named by
    our trial ids, so that another run can find them.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing of the trial yet: what can fail belongs into `step`, where it is caught."""
        remove_abandoned()  # by processes of trials that were killed on this node
        self._run: TrialRun | None = None
        self._watch = MemoryWatch()
        self._held = ""  # of an earlier trial
        self._planned = config

    def step(self) -> dict[str, Any]:
        """Train an epoch.

        Raises:
            RuntimeError: this process is of no use any more, and Tune shall take the trial up in another.
        """
        if self._held:
            raise RuntimeError(f"the trial before this one has not given its memory back: {self._held}")
        try:
            if self._run is None:
                self._run = self._start()
            return self._run.step()
        except StoreError as error:
            return _fatal(error)
        except torch.OutOfMemoryError as error:
            mend = "give trials more of a GPU with --gpus-per-worker, or smaller batches with --set loader.unlabelled"
            return self._failed(TrainingError(f"{str(error).partition('. ')[0]}; {mend}"))
        except SefarError as error:
            return self._failed(error)
        except Exception as error:
            log.exception("trial failed")
            if torch.cuda.is_available():
                raise  # after a CUDA error the process is of no use: let Tune replace it
            return self._failed(error)

    def _start(self) -> TrialRun:
        settings = RunSettings.from_json(self._planned["settings"])
        torch.set_num_threads(settings.threads)
        self._watch.starts()
        cap_gpu_memory(settings)
        return TrialRun(TrialSpec.from_json(self._planned["spec"]), settings, self._planned["planned"])

    def _failed(self, error: Exception) -> dict[str, Any]:
        if self._run is None:
            return _fatal(error)  # without a row there is nowhere to record it
        try:
            return {"done": True, "failed": self._run.fail(error), "epoch": self._run.row["epochs_done"]}
        except StoreError as worse:
            return _fatal(worse)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make ready for the next trial.

        Always True: after False, as after an exception here, Tune would drop the next trial without trying it
        elsewhere. An actor that is of no use any more says so from `step`, where Tune takes the trial up in another.
        """
        self.cleanup()
        self._planned = new_config
        return True

    def cleanup(self) -> None:
        """Let go of the trial."""
        if self._run is None:
            return
        trial_id = self._run.spec.trial_id
        self._watch.ends(self._run.trainer)
        self._run.close()
        self._run = None
        self._held = self._watch.still_held()
        if self._held:
            log.warning("trial %s has ended, but %s; its process is replaced", trial_id, self._held)


def _fatal(error: Exception) -> dict[str, Any]:
    """A result that stops the whole sweep."""
    return {"done": True, "failed": one_line(error), "fatal": True, "epoch": 0}
