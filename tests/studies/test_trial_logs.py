"""Log files and TensorBoard scalars of trials."""

from __future__ import annotations

import gc
import logging
import os
import sys
import warnings
from pathlib import Path

import pytest
from pyarrow import fs

from sefar.errors import StoreError
from studies.engine import trial_logs
from studies.engine.trial_logs import TrialLogs
from studies.results.storage import Location
from tests.descriptors import open_files
from tests.training.test_events import shown

EPOCH = {"epoch": 1, "step": 10, "dev_student_top1": 40.0, "dev_teacher_top1": float("nan"), "total_loss": 2.5}


class FarAway(Location):
    """A folder that passes for an object store."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.is_local, self.uri, self.down = False, "s3://key:secret@bucket/store.work?region=eu", False
        self._fs, self.puts = fs.LocalFileSystem(), []

    def write(self, name: str, data: bytes) -> None:
        if self.down:
            raise StoreError(f"{name}: cannot be written: the storage does not answer")
        self.puts.append(name)
        path = Path(self.root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def text(folder: Path) -> str:
    return (folder / "logs/st/a.log").read_text()


def test_a_trial_leaves_its_log_and_its_curves(tmp_path: Path) -> None:
    logs = TrialLogs(Location(tmp_path), "st", "a")
    assert logs.path == f"{tmp_path}/logs/st/a.log"
    logs.open()
    logging.getLogger("sefar.data.scopes").info("24 clips")
    logging.getLogger("studies.engine.trial_run").warning("starts anew")
    logging.getLogger("someone.else").info("chatter")
    logs.epoch(EPOCH)
    # on disk already, should the process be killed now
    assert shown(tmp_path / "tensorboard/st/a") == {
        "dev/dev_student_top1": [(1, 40.0)],
        "loss/total_loss": [(1, 2.5)],
    }
    written = text(tmp_path)
    assert "INFO trial: trial a on host" in written and f"pid {os.getpid()}" in written
    assert "INFO sefar.data.scopes: 24 clips" in written
    assert "WARNING studies.engine.trial_run: starts anew" in written and "chatter" not in written
    assert "epoch 1: step 10, dev_student_top1 40, total_loss 2.5\n" in written
    logs.close()
    logging.getLogger("sefar.data.scopes").warning("of the next trial")
    assert text(tmp_path).startswith(written) and text(tmp_path).endswith("this process lets go of the trial\n")


def test_a_resumed_trial_appends(tmp_path: Path) -> None:
    for epoch in (1, 2):
        logs = TrialLogs(Location(tmp_path), "st", "a")
        logs.open()
        logs.epoch(EPOCH | {"epoch": epoch, "total_loss": epoch})
        logs.close()
    assert text(tmp_path).count("trial a on host") == 2
    assert text(tmp_path).index("epoch 1:") < text(tmp_path).index("epoch 2:")
    assert shown(tmp_path / "tensorboard/st/a")["loss/total_loss"] == [(1, 1), (2, 2)]


def test_other_handlers_show_what_they_showed_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, ours = logging.getLogger(), logging.getLogger("sefar")
    screen = logging.StreamHandler(sys.stderr)
    root.addHandler(screen)
    try:
        before = [h.level for h in root.handlers], ours.level, root.level
        logs = TrialLogs(Location(tmp_path), "st", "a")
        logs.open()
        ours.info("for the file alone")
        ours.warning("for both")
        logs.close()
        assert before == ([h.level for h in root.handlers], ours.level, root.level)
    finally:
        root.removeHandler(screen)
    assert capsys.readouterr().err == "for both\n"
    assert "for the file alone" in text(tmp_path)


def test_without_other_handlers_warnings_still_reach_stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Last(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging, "lastResort", Last(logging.WARNING))
    logs = TrialLogs(Location(tmp_path), "st", "a")
    logs.open()
    logging.getLogger("sefar").info("quiet")
    logging.getLogger("sefar").warning("loud")
    logs.close()
    assert seen == ["loud"]
    assert logging.getLogger().handlers == []


def test_an_error_comes_with_its_traceback(tmp_path: Path) -> None:
    logs = TrialLogs(Location(tmp_path), "st", "a")
    logs.open()
    try:
        raise ValueError("frame 3")
    except ValueError as error:
        logs.failed(error)
        logs.failed(error)  # as the layers above pass it on
    logs.close()
    assert text(tmp_path).count("Traceback") == 1 and "test_an_error_comes_with_its_traceback" in text(tmp_path)
    assert text(tmp_path).split("\n")[-3] == "ValueError: frame 3"


def test_nothing_stays_open(tmp_path: Path) -> None:
    def trial(name: str) -> None:
        logs = TrialLogs(Location(tmp_path), "st", name)
        logs.open()
        logs.epoch(EPOCH)
        logs.close()

    trial("first")  # imports what it needs
    gc.collect()  # what earlier tests left, whose end would hide a file of ours
    before, listening = len(open_files()), list(logging.getLogger().handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for number in range(5):
            trial(str(number))
        gc.collect()
    assert len(open_files()) <= before  # fewer: a thread of an earlier test may end meanwhile
    assert open_files(tmp_path) == []
    assert logging.getLogger().handlers == listening


def test_what_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").write_text("a file in the folder's place")
    logs = TrialLogs(Location(tmp_path), "st", "a")
    with caplog.at_level(logging.WARNING):
        logs.open()
        logs.epoch(EPOCH)
        logs.failed(ValueError("x"))
        logs.close()
    (message,) = caplog.messages
    assert message.startswith(f"{logs.path}: the trial's log cannot be written (") and "goes on without" in message


def test_a_full_disk_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logs = TrialLogs(Location(tmp_path), "st", "a")
    logs.open()
    assert logs._handler is not None
    logs._handler.stream.close()
    logs._handler.stream = open("/dev/full", "a")  # noqa: SIM115
    with caplog.at_level(logging.WARNING):
        logging.getLogger("sefar").warning("one")
        logs.epoch(EPOCH)
        logs.close()
    complaints = [m for m in caplog.messages if "cannot be written" in m]
    assert len(complaints) == 1 and "No space left" in complaints[0]


def test_an_object_store_gets_them_now_and_then_and_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.engine.temporary.TMP", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    far = FarAway(tmp_path / "far")
    logs = TrialLogs(far, "st", "a")
    assert logs.path == "s3://bucket/store.work/logs/st/a.log"  # neither key nor options
    logs.open()
    logs.epoch(EPOCH)
    assert "epoch 1:" in text(tmp_path / "far")
    logs.epoch(EPOCH | {"epoch": 2})  # within UPLOAD_SECONDS: not yet
    assert "epoch 2:" not in text(tmp_path / "far") and len(far.puts) == 2
    logs.close()
    assert "epoch 2:" in text(tmp_path / "far")
    assert shown(tmp_path / "far/tensorboard/st/a")["loss/total_loss"] == [(1, 2.5), (2, 2.5)]
    assert list((tmp_path / "tmp").iterdir()) == []
    again = TrialLogs(far, "st", "a")
    again.open()
    again.close()
    assert text(tmp_path / "far").count("trial a on host") == 2


def test_an_object_store_that_is_away_costs_one_try_and_gets_them_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_logs, "UPLOAD_SECONDS", 0.0)
    far, tries = FarAway(tmp_path / "far"), []
    write = far.write
    monkeypatch.setattr(far, "write", lambda name, data: (tries.append(name), write(name, data)))
    logs = TrialLogs(far, "st", "a")
    logs.open()
    far.down = True
    with caplog.at_level(logging.WARNING):
        for epoch in (1, 2, 3):
            logs.epoch(EPOCH | {"epoch": epoch})
    assert len(tries) == 1 and len(caplog.messages) == 1
    far.down = False
    logs.close()
    assert "epoch 3:" in text(tmp_path / "far")
