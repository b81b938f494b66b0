"""Epochs as TensorBoard event files."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sefar.training.report import EpochReport

log = logging.getLogger(__name__)

PSEUDO_LABELS = ("weight_mean", "confidence_mean", "spread_mean")
SPEED = ("clips_per_second", "peak_memory_mib")


class EventFile:
    """Writes a scalar a field of the report, with the number of finished epochs as its step.

    Each session has a file of its own. Epochs beyond `epochs_done` that an earlier, stopped session has written are
    hidden by TensorBoard: they are trained again. Without the package tensorboardX nothing is written, and a warning
    says so.

    Args:
        folder: of the event files; must be there.
        epochs_done: epochs the checkpoint holds.

    Raises (`add` too): OSError when the file cannot be written.
    """

    def __init__(self, folder: Path, *, epochs_done: int) -> None:
        self._writer: Any = None
        try:
            # imported here since it takes over a second, and only training needs it; not its SummaryWriter, whose
            # thread dies of a full disk and leaves the training waiting for ever
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog
        except ImportError:
            log.warning("no TensorBoard files are written: tensorboardX is not installed")
            return
        # the suffix keeps sessions of the same second apart
        self._writer = EventsWriter(str(folder / "events"), f".from{epochs_done:05}")
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(step=epochs_done + 1, wall_time=time.time(), session_log=start))
        self._writer.flush()

    def add(self, report: EpochReport) -> None:
        """Write an epoch; what is not known (NaN) is left out."""
        self.add_values(report.epoch, report.to_dict())

    def add_values(self, epoch: int, values: Mapping[str, Any]) -> None:
        """Write the numbers among an epoch's values; what is not known (None, NaN) is left out."""
        if self._writer is None:
            return
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for name, value in values.items():
            if name not in ("epoch", "step") and isinstance(value, int | float) and not math.isnan(value):
                event = Event(step=epoch, wall_time=time.time(), summary=scalar(tag(name), value))
                self._writer.write_event(event)
        self._writer.flush()

    def __enter__(self) -> EventFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
        except OSError:
            if error is None:  # on a full disk closing fails too; what went wrong first is what to tell
                raise


def tag(name: str) -> str:
    """The report's field under the heading TensorBoard shows it by, for instance ``loss/total_loss``."""
    if name.endswith("_loss"):
        return f"loss/{name}"
    if name.startswith("dev_"):
        return f"dev/{name}"
    if "pseudo_label" in name or name in PSEUDO_LABELS:
        return f"pseudo_labels/{name}"
    return f"speed/{name}" if name.endswith("_seconds") or name in SPEED else f"training/{name}"
