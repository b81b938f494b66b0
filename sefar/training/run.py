"""A training run in a folder: configuration, versions, metrics, event files, checkpoint, test result."""

from __future__ import annotations

import json
import logging
import os
from contextlib import closing
from pathlib import Path

from sefar.config import TrainConfig
from sefar.data.scopes import load_scope
from sefar.errors import CheckpointError, ConfigError
from sefar.files import write_whole
from sefar.training.checkpoint import load_checkpoint, remove_leftovers, save_checkpoint
from sefar.training.device import choose_device
from sefar.training.evaluation_files import describe, write_evaluation
from sefar.training.events import EventFile
from sefar.training.heap import keep_heap
from sefar.training.progress import ProgressBar
from sefar.training.run_folder import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    VERSIONS,
    check_writable,
    keep_epochs,
    to_json,
    writing,
)
from sefar.training.team import Team
from sefar.training.trainer import Trainer
from sefar.training.versions import versions

log = logging.getLogger(__name__)


def train_in_folder(
    config: TrainConfig, folder: Path, *, resume: bool, device: str | None, processes: int = 1
) -> dict[str, float]:
    """Train in `folder`, with several processes on the CPU where asked for, and evaluate on the test set.

    The folder gets ``config.json``, ``versions.json``, ``metrics.jsonl`` (a line an epoch), TensorBoard event files,
    ``checkpoint.pt`` (after every epoch) and in the end the files of `evaluation_files` for ``test``.

    Returns:
        The metrics of the test set, percent.

    Raises:
        CheckpointError: the folder holds a run already and `resume` is off, or its checkpoint does not fit.
        ConfigError: no such device, or several processes that are not to run on the CPU.
        DataError: the folder cannot be written.
    """
    checkpoint = folder / CHECKPOINT
    if os.path.exists(checkpoint) and not resume:  # unlike Path.exists, no error where a folder may not be entered
        raise CheckpointError(f"{folder}: holds a run already; go on with --resume, or give another --out")
    check_writable(folder)
    chosen = choose_device(device)  # before clips are rendered
    if processes > 1 and chosen.type != "cpu":
        raise ConfigError(f"--processes: {processes} share the work of CPUs, got device {chosen}; add --device cpu")
    if chosen.type == "cpu":
        keep_heap()
    scope = load_scope(config.scope)
    made = Team(config, scope, processes=processes) if processes > 1 else Trainer(config, scope, device=device)
    with closing(made) as trainer:
        if resume and checkpoint.exists():
            trainer.load_state_dict(load_checkpoint(checkpoint))
        _open_folder(folder, trainer)
        _train_epochs(folder, trainer)
        evaluation = trainer.evaluate("test")
        about = describe(trainer, "test")
    write_evaluation(evaluation, folder, "test", classes=trainer.scope.classes, about=about)
    return evaluation.metrics


def _open_folder(folder: Path, trainer: Trainer) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder / CHECKPOINT)
        write_whole(folder / CONFIG, json.dumps(trainer.config.to_dict(), indent=1) + "\n")
        now = versions(trainer.device, trainer.scope.split_hash)
        if trainer.epoch:
            _warn_of_changes(folder / VERSIONS, now)
        write_whole(folder / VERSIONS, to_json(now, indent=1) + "\n")
        keep_epochs(folder / METRICS, trainer.epoch)


def _warn_of_changes(path: Path, now: dict[str, str | None]) -> None:
    """Say where a resumed run goes on with other software than it began with: its numbers may differ a little."""
    try:
        was = json.loads(path.read_text(encoding="utf-8"))
        changed = [f"{name} {was.get(name)} → {value}" for name, value in now.items() if was.get(name) != value]
    except (OSError, ValueError, AttributeError):  # of a run before there was this file, or damaged
        return
    if changed:
        log.warning("%s: the run goes on with other versions (%s)", path.parent, ", ".join(changed))


def _train_epochs(folder: Path, trainer: Trainer) -> None:
    """Train what remains; after each epoch first its metrics are written, then the checkpoint."""
    with writing(folder):
        events = EventFile(folder, epochs_done=trainer.epoch)
    with events, ProgressBar(trainer.config, trainer.steps_per_epoch, step=trainer.step) as bar:
        trainer.on_step = bar.step_done
        for report in trainer:
            with writing(folder):
                with (folder / METRICS).open("a", encoding="utf-8") as out:
                    out.write(to_json(report.to_dict()) + "\n")
                events.add(report)
            save_checkpoint(folder / CHECKPOINT, trainer.state_dict())
            bar.epoch_done(report)
