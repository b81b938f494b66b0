"""What `studies/status.py` tells of a store."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sefar.errors import ConfigError
from studies.results.status import store_status
from studies.results.store import ResultStore

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.datetime(2026, 1, 2, 12, 0, 0, tzinfo=datetime.UTC)
CORE, FLOOR = "synthgym/core@1pc#0", "synthgym/event:FX@3pc#1"
CHOSEN = {"perturb.kind": "drop", "perturb.strength": 0.5, "weighting.kind": "fixed", "weighting.threshold": 0.8}


def ago(seconds: float) -> str:
    return (NOW - datetime.timedelta(seconds=seconds)).isoformat(timespec="seconds")


def put(store: ResultStore, scope: str, number: int, status: str, *, study: str = "st", **more: Any) -> None:
    row = {
        "number": number,
        "role": "search",
        "stage": "search",
        "status": status,
        "planned": 4,
        "parameters": json.dumps(CHOSEN),
        "epochs_planned": 8,
        "epochs_done": 8,
        "seconds": 360.0,
        "accelerator_seconds": 180.0,
        "host": "node-a",
        "updated_at": ago(10),
    }
    writer = store.writer(study, scope, f"{study}.{scope[-4:]}.{number}.{more.get('stage', '')}")
    writer.trial(row | more)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    store = ResultStore(str(tmp_path / "store"), create=True)
    put(store, CORE, 0, "finished", role="default", dev_student_top1=41.2)
    put(store, CORE, 1, "finished", dev_student_top1=55.55)
    put(store, CORE, 2, "pruned", dev_student_top1=90.0, epochs_done=3)
    put(store, CORE, 3, "running", dev_student_top1=51.2, epochs_done=3, updated_at=ago(75), workers=2)
    put(store, FLOOR, 0, "failed", error="clips/a.mp4: frame 3 does not decode", log="/w.work/logs/st/x.log")
    put(store, FLOOR, 1, "running", epochs_done=0, seconds=0.0, updated_at=ago(4000), host="node-b")
    return store


def test_all_that_one_wants_to_know(store: ResultStore) -> None:
    # 5 trials of 360 s and 6 of 180 accelerator seconds; an epoch takes 1800 s / 30 epochs = 60 s, so 75 s of silence
    # are nothing, 4000 s are too much
    assert store_status(store, None, NOW, 80).split("\n") == [
        "st: 6 of 8 trials started",
        "2 finished, 1 pruned, 1 failed, 2 running",
        "cost so far: 0.50 trial hours, 0.30 accelerator hours",
        "",
        "running             epoch  dev %               heard of  where",
        "003 core@1pc          3/8   51.2               1:15 ago  node-a, 2 workers",
        "001 event:FX@3pc#1    0/8         1:06:40 ago, too long  node-b",
        "too long: the trial has stopped or hangs; if its run is gone, the same command",
        "  again takes the trial up",
        "",
        "scope           ended  finished  pruned  failed  best dev %",
        "core@1pc          3/4         2       1       0        55.5",
        "  best: 001 drop 0.5 · fixed τ 0.8",
        "event:FX@3pc#1    1/4         0       0       1",
        "",
        "failed: event:FX@3pc#1 000: clips/a.mp4: frame 3 does not decode",
        "  log: /w.work/logs/st/x.log",
        "",
        "logs: /w.work/logs/st/",
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_keep_to_the_width(store: ResultStore, width: int) -> None:
    assert max(map(len, store_status(store, None, NOW, width).split("\n"))) <= width


def test_slow_epochs_may_be_silent_for_longer(tmp_path: Path) -> None:
    store = ResultStore(str(tmp_path / "store"), create=True)
    put(store, CORE, 0, "running", epochs_done=2, seconds=2400.0, updated_at=ago(3500))  # 1200 s an epoch
    assert "58:20 ago  node-a" in store_status(store, None, NOW)
    put(store, CORE, 1, "running", epochs_done=2, seconds=2400.0, updated_at=ago(3700))
    assert "1:01:40 ago, too long" in store_status(store, None, NOW)


def test_confirm_trials_stand_apart(store: ResultStore) -> None:
    put(store, CORE, 1, "finished", stage="confirm", dev_student_top1=70.0)
    text = store_status(store, None, NOW)
    assert "st: 6 of 8 trials started, and 1 to confirm" in text
    rows = [line.split() for line in text.split("\n")]
    assert ["core@1pc", "3/4", "2", "1", "0", "55.5"] in rows  # the search's best is the search's own
    assert ["core@1pc", "confirm", "1/1", "1", "0", "0", "70.0"] in rows


def test_a_store_of_an_older_version_is_read(tmp_path: Path) -> None:
    store = ResultStore(str(tmp_path / "store"), create=True)
    put(store, CORE, 0, "running", updated_at=None, started_at=ago(30), stage=None, accelerator_seconds=None)
    text = store_status(store, None, NOW)
    assert "0:30 ago" in text and "0.10 trial hours, 0.00 accelerator hours" in text and "logs:" not in text


def test_trials_that_failed_alike_are_told_together(tmp_path: Path) -> None:
    store = ResultStore(str(tmp_path / "store"), create=True)
    for number in range(3):
        put(store, CORE, number, "failed", error="boom", log=f"/logs/{number}.log")
    put(store, FLOOR, 0, "failed", error="boom")
    end = store_status(store, None, NOW).split("\n")[-5:]
    assert end[:3] == ["failed: core@1pc 000 001 002: boom", "  log: /logs/0.log", "failed: event:FX@3pc#1 000: boom"]


def test_many_failures_are_counted(tmp_path: Path) -> None:
    store = ResultStore(str(tmp_path / "store"), create=True)
    for number in range(12):
        put(store, CORE, number, "failed", error=f"boom {number:02d}")
    text = store_status(store, None, NOW)
    assert text.count(": boom") == 10 and text.endswith("failed: 2 more")


def test_one_study_of_several(store: ResultStore) -> None:
    put(store, CORE, 0, "finished", study="other", dev_student_top1=1.0)
    assert store_status(store, None, NOW).count("trials started") == 2
    assert store_status(store, "other", NOW).startswith("other: 1 of 4 trials started")
    with pytest.raises(ConfigError, match=r"^--study: the store has no 'othr' — did you mean 'other'\?$"):
        store_status(store, "othr", NOW)


def test_before_the_first_trial(tmp_path: Path) -> None:
    store = ResultStore(str(tmp_path / "store"), create=True)
    assert store_status(store, None, NOW) == f"{tmp_path}/store: no trial has started yet"


def script(*flags: str, columns: int = 80) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "studies/status.py"), *flags]
    environment = os.environ | {"COLUMNS": str(columns)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_script_tells_it_and_needs_neither_ray_nor_torch(store: ResultStore) -> None:
    done = script(store.uri)
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0 and out.startswith("st: 6 of 8 trials started\n"), err
    heavy = "import sys; sys.modules.update(dict.fromkeys(('ray', 'torch', 'optuna'))); import studies.status"
    assert subprocess.run([sys.executable, "-c", heavy], cwd=ROOT).returncode == 0


def test_what_cannot_be_told_is_one_line(store: ResultStore, tmp_path: Path) -> None:
    for flags, said in (
        (
            [str(tmp_path / "none")],
            f"error: {tmp_path}/none: there is no result store; a study makes one with --store\n",
        ),
        ([store.uri, "--watch", "0"], "error: --watch: expected a number ≥ 1, got '0'\n"),
        ([store.uri, "--studdy", "x"], "error: --studdy: unknown flag — did you mean '--study'?\n"),
    ):
        done = script(*flags)
        out, err = done.communicate(timeout=60)
        assert (done.returncode, out, err) == (2, "", said)


def test_watching_waits_for_the_store_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    watcher = script(str(tmp_path / "late"), "--watch", "1")
    assert watcher.stdout is not None
    try:
        assert "late" in watcher.stdout.readline()
        assert "there is no result store" in watcher.stdout.readline()
        put(ResultStore(str(tmp_path / "late"), create=True), CORE, 0, "finished", dev_student_top1=1.0)
        for line in watcher.stdout:
            if line.startswith("st: 1 of 4 trials started"):
                break
        watcher.send_signal(signal.SIGINT)
        watcher.communicate(timeout=60)
        assert watcher.returncode == 0
    finally:
        watcher.kill()
        watcher.wait()
