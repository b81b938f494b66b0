"""A training run in a folder: configuration, metrics, checkpoint, test result."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from tqdm import tqdm

from sefar.config import TrainConfig
from sefar.data.scopes import load_scope
from sefar.errors import CheckpointError
from sefar.training.checkpoint import load_checkpoint, save_checkpoint
from sefar.training.trainer import Trainer

log = logging.getLogger(__name__)


def train_in_folder(config: TrainConfig, folder: Path, *, resume: bool, device: str | None) -> None:
    """Train in `folder`: ``config.json``, ``metrics.jsonl`` (a line an epoch), ``checkpoint.pt``, ``test.json``.

    Raises:
        CheckpointError: the folder holds a run already and `resume` is off, or its checkpoint does not fit.
    """
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists() and not resume:
        raise CheckpointError(f"{folder}: holds a run already; go on with --resume, or give another --out")
    trainer = Trainer(config, load_scope(config.scope), device=device)
    if resume and checkpoint.exists():
        trainer.load_state_dict(load_checkpoint(checkpoint))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1) + "\n", encoding="utf-8")
    metrics = folder / "metrics.jsonl"
    _keep_epochs(metrics, trainer.epoch)
    with tqdm(total=trainer.epochs, initial=trainer.epoch, unit="epoch") as bar:
        for report in trainer:
            with metrics.open("a", encoding="utf-8") as out:
                out.write(json.dumps(report.to_dict()) + "\n")
            save_checkpoint(checkpoint, trainer.state_dict())
            bar.set_postfix_str(f"dev {report.dev_student_top1:.1f} %, {report.clips_per_second:.0f} clips/s")
            bar.update()
    test = trainer.evaluate("test")
    (folder / "test.json").write_text(json.dumps(test.metrics, indent=1) + "\n", encoding="utf-8")
    trainer.close()
    print(", ".join(f"{name} {value:.1f} %" for name, value in test.metrics.items()))
    print(f"run folder: {folder}")


def _keep_epochs(metrics: Path, epochs: int) -> None:
    """Drop lines of epochs that the checkpoint does not hold: they are trained again."""
    if metrics.exists():
        lines = metrics.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["epoch"] <= epochs]
        metrics.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
