"""Sweeps whose process is stopped or killed, and taken up again. Training is a toy with known numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from studies.results.store import ResultStore
from tests.studies.sweeps import ROOT, SCRIPT, script

FLAGS = ["--trials", "3", "--epochs", "6", "--set", "objective.warmup_epochs=0"]


def start(store: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SCRIPT, *FLAGS, "--store", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"TOY_EPOCH_SECONDS": "0.7"},
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.time() + seconds
    while not condition():
        assert time.time() < end and process.poll() is None, "the sweep ended or hung before it could be stopped"
        time.sleep(0.1)


def epochs_in(path: Path) -> pd.DataFrame:
    return ResultStore(str(path)).epochs() if (path / "_sefar_store.json").exists() else pd.DataFrame()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The trials of a sweep that nothing stops."""
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    assert script(*FLAGS, "--store", str(store)).returncode == 0
    return ResultStore(str(store)).trials()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_sweep_loses_no_epoch_and_resumes(how, undisturbed, tmp_path):
    store = tmp_path / "store"
    process = start(store)
    wait_for(lambda: len(epochs_in(store)) >= 5, process)
    process.send_signal(how)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == (-9 if how == signal.SIGKILL else 130)
    if how != signal.SIGKILL:
        assert "Traceback" not in said and "what was finished is kept" in said
    time.sleep(5 if how == signal.SIGKILL else 0)  # orphaned actors notice and stop
    kept = epochs_in(store)
    assert len(kept) >= 5
    again = script(*FLAGS, "--store", str(store), "--resume")
    assert again.returncode == 0, again.stderr
    assert "goes on" in again.stdout and "taken up where they stopped" in again.stdout
    after = ResultStore(str(store))
    assert after.trials().groupby("scope").size().tolist() == [3, 3]
    assert after.trials().status.isin(["finished", "pruned"]).all()
    merged = kept.merge(after.epochs(all_attempts=True), on=["trial_id", "attempt", "epoch", "dev_student_top1"])
    assert len(merged) == len(kept)
    for trial_id, curve in after.epochs().groupby("trial_id"):
        assert curve.epoch.tolist() == list(range(1, len(curve) + 1)), trial_id
    columns = ["trial_id", "role", "parameters"]
    begun, expected = (trials.query("number < 2")[columns].values.tolist() for trials in (after.trials(), undisturbed))
    assert begun == expected
