"""A run that several processes train together: as one process trains it, stopped and failing as one."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from sefar.config import TrainConfig
from sefar.data.scopes import Scope
from sefar.errors import CheckpointError, ConfigError, DataError, DecodeError, SefarError, TrainingError
from sefar.training import run
from sefar.training import team as module
from sefar.training.run import train_in_folder
from sefar.training.team import Team
from sefar.training.trainer import Trainer
from tests.data.test_decode_process import gone_within


@pytest.fixture(scope="module")
def config(tiny_config: TrainConfig) -> TrainConfig:
    """Without what each process draws for itself."""
    # AdamW's first steps are as long for a gradient that is rounding as for any other
    quiet = {"model.dropout": 0.0, "model.drop_path": 0.0, "optim.optimiser": "sgd", "optim.learning_rate": 0.01}
    return tiny_config.override({**quiet, "loader.workers": 0})


def test_a_team_trains_resumes_and_evaluates_as_one_process(config: TrainConfig, tiny_scope: Scope) -> None:
    with closing(Trainer(config, tiny_scope, device="cpu")) as alone:
        reports = [report.to_dict() for report in alone]
        expected = alone.evaluate("test")
        regulation = alone.regulation()
    with closing(Trainer(config, tiny_scope, device="cpu")) as begun:
        begun.train_epoch()
        after_one_epoch = begun.state_dict()
        with closing(Team(config, tiny_scope, processes=2)) as team:
            with pytest.raises(CheckpointError, match="another config"):  # the followers refuse it too, and wait on
                team.load_state_dict({**after_one_epoch, "config_hash": "other"})
            team.load_state_dict(after_one_epoch)
            assert (team.epoch, team.epochs, team.scope) == (1, config.optim.epochs, tiny_scope)
            while team.epoch < team.epochs:
                report, wanted = team.train_epoch().to_dict(), reports[team.epoch - 1]
                for name in ("total_loss", "supervised_loss", "unlabelled_loss", "mixed_loss", "confidence_mean"):
                    assert report[name] == pytest.approx(wanted[name], rel=1e-4, abs=1e-6, nan_ok=True), name
            found = team.evaluate("test")
            during = team.evaluate("dev", final=False)  # as after each epoch
            assert team.state_dict()["step"] == alone.step
            assert team.regulation().clips.sum() == regulation.clips.sum() > 0
    assert list(during.predictions) == [c for c in found.predictions if c not in ("confidence", "spread")]
    assert found.metrics["student_top1"] == pytest.approx(expected.metrics["student_top1"], abs=9)  # one clip of 12
    torch.testing.assert_close(
        torch.as_tensor(found.answers["student"].probs_NK),
        torch.as_tensor(expected.answers["student"].probs_NK),
        rtol=1e-3,
        atol=1e-4,
    )
    assert not dist.is_initialized()


def test_a_team_stops_as_one(config: TrainConfig, tiny_scope: Scope) -> None:
    with closing(Team(config, tiny_scope, processes=2)) as team:
        with pytest.raises(ConfigError, match="is of a process group already"):
            Team(config, tiny_scope, processes=2)
        team.train_epoch()
        state = team.state_dict()
        state["student"] = {**state["student"], "fc.bias": torch.full_like(state["student"]["fc.bias"], float("nan"))}
        team.load_state_dict(state)
        with pytest.raises(TrainingError, match="not finite"):
            team.train_epoch()
        team.load_state_dict({**state, "student": team.state_dict()["teacher"] or state["student"]})
        team._followers[0].kill()
        team._followers[0].join()
        with pytest.raises(TrainingError, match=r"^1 of 2 processes of the run died \(exit code -9\)"):
            team.train_epoch()
    assert not dist.is_initialized()


class ScopeAbroad(Scope):
    """A scope that in another process is what `make` says."""

    make: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return self.make, tuple(getattr(self, field.name) for field in dataclasses.fields(Scope))


def without_clips(*fields: Any) -> Scope:
    """As for a process that alone cannot read its clips."""
    scope = Scope(*fields)
    return dataclasses.replace(scope, labelled=scope.labelled.assign(path="gone.mp4"))


def failing(*fields: Any) -> Scope:
    """A process that alone fails amid a step."""

    def fail(*_: Any) -> float:
        raise DataError("no step here")

    module.ALONE_SECONDS = 0.5
    module.Trainer.train_step = fail  # type: ignore[method-assign]
    return Scope(*fields)


def no_scope(*_: Any) -> Scope:
    os._exit(7)


def abroad(scope: Scope, make: Any) -> Scope:
    made = ScopeAbroad(**vars(scope))
    object.__setattr__(made, "make", make)
    return made


def test_an_error_of_one_process_alone_ends_the_run(
    config: TrainConfig, tiny_scope: Scope, capfd: pytest.CaptureFixture
) -> None:
    """The others would wait for its part of the step until the group's timeout."""
    died = pytest.raises(TrainingError, match=r"^1 of 2 processes of the run died \(exit code 1\)")
    with closing(Team(config, abroad(tiny_scope, failing), processes=2)) as team, died:
        team.train_epoch()
    assert "process 1 of 2: no step here" in capfd.readouterr().err


def test_a_clip_that_one_process_alone_cannot_read_ends_the_run_by_its_name(
    config: TrainConfig, tiny_scope: Scope, capfd: pytest.CaptureFixture
) -> None:
    unread = pytest.raises(DecodeError, match=r"^gone\.mp4: no such file")
    with closing(Team(config, abroad(tiny_scope, without_clips), processes=2)) as team, unread:
        team.train_epoch()
    assert "process 1 of 2" not in capfd.readouterr().err


def test_a_process_that_dies_at_its_start_is_no_wait(config: TrainConfig, tiny_scope: Scope) -> None:
    threads = torch.get_num_threads()
    with pytest.raises(TrainingError, match=r"died at its start \(exit code 7\)"):
        Team(config, abroad(tiny_scope, no_scope), processes=2)
    assert not dist.is_initialized() and torch.get_num_threads() == threads


def test_an_error_of_the_start_is_told_once(
    config: TrainConfig, tiny_scope: Scope, capfd: pytest.CaptureFixture
) -> None:
    with pytest.raises(SefarError, match=r"nowhere\.pth"):
        Team(config.override({"model.pretrained": "/nowhere.pth"}), tiny_scope, processes=2)
    assert "Traceback" not in capfd.readouterr().err


STOPPED = """
import sys, time
from pathlib import Path
from sefar.config import TrainConfig
from sefar.data.scopes import load_scope
from sefar.training.team import Team
import json
if __name__ == "__main__":
    config = TrainConfig.from_dict(json.loads(Path(sys.argv[1]).read_text()))
    try:
        print("starts", flush=True)
        team = Team(config, load_scope(config.scope, progress=False), processes=2)
        print(team._followers[0].pid, flush=True)
        for _ in team:
            pass
    except KeyboardInterrupt:
        started = time.monotonic()
        if "team" in globals():
            team.close()
        print("stopped", time.monotonic() - started < 8, flush=True)
"""


@pytest.mark.parametrize("moment", ["start", "training", "killed"])
def test_a_stopped_team_leaves_nothing(config: TrainConfig, tiny_scope: Scope, tmp_path: Path, moment: str) -> None:
    """Ctrl-C reaches all processes of a terminal at once; a kill only the first."""
    (tmp_path / "config.json").write_text(json.dumps(config.override({"optim.epochs": 1000}).to_dict()))
    script, folder = tmp_path / "stopped.py", tmp_path / "tmp"
    script.write_text(STOPPED)
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "config.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert process.stdout is not None and process.stdout.readline() == "starts\n"
    if moment == "start":
        time.sleep(0.5)
    else:
        follower = int(process.stdout.readline())
        time.sleep(1)
    if moment == "killed":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    try:
        out, _ = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        # Python drops a KeyboardInterrupt that is raised within a callback or destructor; a person presses again
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    if moment != "killed":
        assert out == "stopped True\n"
    if moment != "start":
        assert gone_within(follower, 20)
    assert not list(folder.glob("sefar-team-*"))


def test_a_run_folder_made_together(config: TrainConfig, tmp_path: Path) -> None:
    folder, threads = tmp_path / "run", torch.get_num_threads()
    metrics = train_in_folder(config, folder, resume=False, device="cpu", processes=2)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == config.optim.epochs
    # evaluated by another number of threads: the last digits of float32 sums may differ
    assert train_in_folder(config, folder, resume=True, device="cpu") == pytest.approx(metrics, rel=1e-5, nan_ok=True)
    assert torch.get_num_threads() == threads


def test_together_is_for_cpus(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "choose_device", lambda name: torch.device("cuda"))
    with pytest.raises(ConfigError, match="--processes: 2 share the work of CPUs, got device cuda; add --device cpu"):
        train_in_folder(config, tmp_path / "run", resume=False, device=None, processes=2)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("processes", "message"),
    [(1, "processes: expected an integer ≥ 2, got 1"), (3, "expected a multiple of the 3 processes, got 4")],
)
def test_teams_that_cannot_be(config: TrainConfig, tiny_scope: Scope, processes: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Team(config, tiny_scope, processes=processes)
