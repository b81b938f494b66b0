"""A training run in a folder: configuration, metrics, checkpoint, test result."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from tqdm import tqdm

from sefar.config import TrainConfig
from sefar.data.scopes import load_scope
from sefar.errors import CheckpointError, DataError
from sefar.training.checkpoint import load_checkpoint, save_checkpoint
from sefar.training.device import choose_device
from sefar.training.trainer import Trainer


def train_in_folder(config: TrainConfig, folder: Path, *, resume: bool, device: str | None) -> dict[str, float]:
    """Train in `folder`: ``config.json``, ``metrics.jsonl`` (a line an epoch), ``checkpoint.pt``, ``test.json``.

    Returns:
        The metrics of the test set, percent.

    Raises:
        CheckpointError: the folder holds a run already and `resume` is off, or its checkpoint does not fit.
        ConfigError: no such device.
        DataError: the folder cannot be written.
    """
    checkpoint = folder / "checkpoint.pt"
    if os.path.exists(checkpoint) and not resume:  # unlike Path.exists, no error where a folder may not be entered
        raise CheckpointError(f"{folder}: holds a run already; go on with --resume, or give another --out")
    _check_writable(folder)
    choose_device(device)  # before clips are rendered
    with closing(Trainer(config, load_scope(config.scope), device=device)) as trainer:
        if resume and checkpoint.exists():
            trainer.load_state_dict(load_checkpoint(checkpoint))
        with _naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _write_whole(folder / "config.json", json.dumps(config.to_dict(), indent=1) + "\n")
            _keep_epochs(folder / "metrics.jsonl", trainer.epoch)
        with tqdm(total=trainer.epochs, initial=trainer.epoch, unit="epoch") as bar:
            for report in trainer:
                with _naming(folder), (folder / "metrics.jsonl").open("a", encoding="utf-8") as out:
                    out.write(_to_json(report.to_dict()) + "\n")
                save_checkpoint(checkpoint, trainer.state_dict())
                bar.set_postfix_str(f"dev {report.dev_student_top1:.1f} %, {report.clips_per_second:.0f} clips/s")
                bar.update()
        metrics = trainer.evaluate("test").metrics
    with _naming(folder):
        _write_whole(folder / "test.json", _to_json(metrics, indent=1) + "\n")
    return metrics


def _to_json(values: Mapping[str, float], indent: int | None = None) -> str:
    """JSON text; NaN and infinities, which JSON lacks, become null."""
    plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return json.dumps(plain, indent=indent, allow_nan=False)


def _check_writable(folder: Path) -> None:
    """See to it, without making anything yet, that the folder can be made and written."""
    nearest = folder.absolute()
    while not os.path.exists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise DataError(f"{folder}: cannot be written ({nearest} is not a folder); choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise DataError(f"{folder}: cannot be written (no permission in {nearest}); choose another --out")


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Within the block, a failed write becomes one line that names the folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{folder}: cannot be written ({reason}); make room or choose another --out") from error


def _write_whole(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: a file of the name is never half there."""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _keep_epochs(metrics: Path, epochs: int) -> None:
    """Drop lines of epochs that the checkpoint does not hold: they are trained again."""
    if metrics.exists():
        lines = metrics.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["epoch"] <= epochs]
        _write_whole(metrics, "".join(line + "\n" for line in kept))
