"""The progress bar of a training run, in clips."""

from __future__ import annotations

import math
import os
import sys
from types import TracebackType

from tqdm import tqdm

from sefar.config import TrainConfig
from sefar.training.report import EpochReport

PLAIN_COLUMNS = 100
PLAIN_SECONDS = 20.0  # between lines where there is no terminal, so that logs stay short


def clips_until(config: TrainConfig, steps_per_epoch: int, step: int) -> int:
    """Clips, labelled and unlabelled, of the first `step` optimiser steps."""
    warmup_steps = config.objective.warmup_epochs * steps_per_epoch
    with_unlabelled = max(0, step - warmup_steps) if config.objective.uses_unlabelled else 0
    return config.optim.accumulate * (step * config.loader.labelled + with_unlabelled * config.loader.unlabelled)


class ProgressBar:
    """Clips done, clips a second and the time left, on standard error.

    Clips and not epochs are counted, since epochs of the warm-up have no unlabelled clips and so are shorter. Clips of
    an earlier session count as done but not towards the speed, so the time left is right after resuming too.

    Args:
        config: of the run.
        steps_per_epoch: optimiser steps of an epoch.
        step: optimiser steps done before.
    """

    def __init__(self, config: TrainConfig, steps_per_epoch: int, *, step: int) -> None:
        self.config, self.steps_per_epoch = config, steps_per_epoch
        terminal = sys.stderr.isatty()
        # a terminal may not know its width, as in some containers: tqdm would then show nothing at all
        sized = terminal and os.get_terminal_size(sys.stderr.fileno()).columns > 0
        self.bar = tqdm(
            desc=self._epoch(step),
            total=clips_until(config, steps_per_epoch, config.optim.epochs * steps_per_epoch),
            initial=clips_until(config, steps_per_epoch, step),
            unit=" clips",
            mininterval=0.2 if terminal else PLAIN_SECONDS,
            maxinterval=max(10.0, PLAIN_SECONDS),
            dynamic_ncols=sized,
            ncols=PLAIN_COLUMNS if terminal and not sized else None,
        )

    def _epoch(self, step: int) -> str:
        epochs = self.config.optim.epochs
        return f"epoch {min(step // self.steps_per_epoch + 1, epochs)}/{epochs}"

    def step_done(self, step: int) -> None:
        """Show that `step` optimiser steps are done."""
        self.bar.set_description_str(self._epoch(max(0, step - 1)), refresh=False)
        self.bar.update(clips_until(self.config, self.steps_per_epoch, step) - self.bar.n)

    def epoch_done(self, report: EpochReport) -> None:
        """Show the epoch's accuracy, if there is a dev part."""
        self.step_done(report.step)
        if not math.isnan(report.dev_student_top1):
            self.bar.set_postfix_str(f"dev {report.dev_student_top1:.1f} %", refresh=False)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
