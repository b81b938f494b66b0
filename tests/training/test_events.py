"""TensorBoard files, read back record by record."""

from __future__ import annotations

import logging
import struct
import sys
from pathlib import Path

import pytest
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from sefar.errors import DataError
from sefar.training.events import EventFile, tag
from sefar.training.report import EpochReport


def events(file: Path) -> list[Event]:
    content, found, at = file.read_bytes(), [], 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        record = content[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", content, at + 12 + length)[0] == masked_crc32c(record)
        found.append(Event.FromString(record))
        at += length + 16
    return found


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: a session that starts at a step hides what earlier ones wrote from that step on."""
    scalars: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for event in events(file):
            if event.session_log.status == SessionLog.START:
                scalars = {name: [p for p in points if p[0] < event.step] for name, points in scalars.items()}
            for value in event.summary.value:
                scalars.setdefault(value.tag, []).append((event.step, round(value.simple_value, 3)))
    return scalars


def test_each_epoch_is_a_step_and_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    with EventFile(tmp_path, epochs_done=0) as file:
        file.add(EpochReport(epoch=1, step=20, total_loss=2.5))
        file.add(EpochReport(epoch=2, step=40, total_loss=1.5, dev_teacher_top1=60.0))
        # on disk already, should the run be killed now
        assert shown(tmp_path) == {
            "loss/total_loss": [(1, 2.5), (2, 1.5)],
            "training/ramp": [(1, 0), (2, 0)],
            "dev/dev_teacher_top1": [(2, 60.0)],
        }
    (written,) = tmp_path.iterdir()
    assert events(written)[0].file_version == "brain.Event:2"


def test_a_resumed_run_shows_no_epoch_twice(tmp_path: Path) -> None:
    with EventFile(tmp_path, epochs_done=0) as file:
        for epoch in (1, 2, 3):
            file.add(EpochReport(epoch=epoch, step=epoch, total_loss=epoch))
    with EventFile(tmp_path, epochs_done=2) as file:  # killed before the third epoch's checkpoint
        file.add(EpochReport(epoch=3, step=3, total_loss=30))
        file.add(EpochReport(epoch=4, step=4, total_loss=40))
    assert len(list(tmp_path.iterdir())) == 2
    assert shown(tmp_path)["loss/total_loss"] == [(1, 1), (2, 2), (3, 30), (4, 40)]


def test_headings() -> None:
    names = {
        "mixed_loss": "loss",
        "dev_student_top1": "dev",
        "pseudo_label_accuracy": "pseudo_labels",
        "weighted_pseudo_label_accuracy": "pseudo_labels",
        "spread_mean": "pseudo_labels",
        "eval_seconds": "speed",
        "clips_per_second": "speed",
        "learning_rate": "training",
    }
    assert {name: tag(name) for name in names} == {name: f"{heading}/{name}" for name, heading in names.items()}


def test_without_the_package_a_warning_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with caplog.at_level(logging.WARNING), EventFile(tmp_path, epochs_done=0) as file:
        file.add(EpochReport(epoch=1, step=1, total_loss=1.0))
    assert caplog.messages == ["no TensorBoard files are written: tensorboardX is not installed"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        EventFile(tmp_path / "missing", epochs_done=0)


def test_closing_does_not_hide_what_went_wrong_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    first, second = EventFile(tmp_path, epochs_done=0), EventFile(tmp_path, epochs_done=1)
    monkeypatch.setattr(EventsWriter, "close", full)
    with pytest.raises(DataError, match="the first"), first:
        raise DataError("the first")
    with pytest.raises(OSError, match="No space left"), second:
        pass
