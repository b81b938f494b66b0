"""Files of a run folder; a failed write says which folder could not be written."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sefar.errors import DataError
from sefar.files import write_whole

CONFIG, VERSIONS, METRICS, CHECKPOINT = "config.json", "versions.json", "metrics.jsonl", "checkpoint.pt"


def to_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON text; NaN and infinities, which JSON lacks, become null."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(item) for name, item in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(values), indent=indent, allow_nan=False)


def check_writable(folder: Path) -> None:
    """See to it, without making anything yet, that the folder can be made and written.

    Raises:
        DataError: it cannot.
    """
    nearest = folder.absolute()
    while not os.path.exists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise DataError(f"{folder}: cannot be written ({nearest} is not a folder); choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise DataError(f"{folder}: cannot be written (no permission in {nearest}); choose another --out")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Within the block, a failed write becomes one line that names the folder.

    Raises:
        DataError: a write failed.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{folder}: cannot be written ({reason}); make room or choose another --out") from error


def keep_epochs(metrics: Path, epochs: int) -> None:
    """Drop lines of epochs that the checkpoint does not hold: they are trained again."""
    if metrics.exists():
        lines = metrics.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["epoch"] <= epochs]
        write_whole(metrics, "".join(line + "\n" for line in kept))
