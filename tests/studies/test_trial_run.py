"""A trial by itself, without Ray: how it ends, what it records, where its checkpoint lies."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import fs

from sefar.errors import CheckpointError, ConfigError, DecodeError, StoreError
from sefar.recipes import recipe
from studies.engine.checkpoints import CheckpointFolder
from studies.engine.lock import study_lock
from studies.engine.space import SCOPE_SWEEP
from studies.engine.spec import Axis, Study, TrialSpec
from studies.engine.trial import InlineTrial
from studies.engine.trial_run import RunSettings, TrialRun
from studies.results.storage import Location
from studies.results.store import ResultStore
from tests.studies.toy import ToyTrainer, ToyWorkload

FX, BROKEN = "synthgym/event:FX@1pc#0", "synthgym/set:broken"


class Unmakeable(ToyWorkload):
    """A workload whose trainer cannot be made."""

    def trainer(self, config, processes=1):
        raise ConfigError("model.width: expected a multiple of 4, got 3")


def spec_of(scope: str = FX) -> TrialSpec:
    base = recipe("synthgym_tiny", {"optim.epochs": 3, "objective.warmup_epochs": 0})
    study = Study(name="s", base=base, scopes=Axis(key="scope.name", values=(scope,)), space=SCOPE_SWEEP, trials=2)
    return study.spec(scope, 0, "default")


def settings_of(tmp_path: Path, workload: str = "tests.studies.toy:ToyWorkload") -> RunSettings:
    store = ResultStore(str(tmp_path / "store"), create=True)
    return RunSettings(store=store.uri, workload=workload)


def only_row(settings: RunSettings) -> dict:
    (row,) = ResultStore(settings.store).trials().to_dict("records")
    return row


def test_an_error_while_training_is_recorded_and_raised(tmp_path):
    settings = settings_of(tmp_path)
    trial = TrialRun(spec_of(BROKEN), settings, 2)
    with pytest.raises(DecodeError, match=r"clips/a\.mp4: frame 3"):
        trial.step()
    row = only_row(settings)
    assert row["status"] == "failed" and "clips/a.mp4: frame 3" in row["error"]


def test_an_error_while_opening_is_recorded_and_raised(tmp_path):
    settings = settings_of(tmp_path, "tests.studies.test_trial_run:Unmakeable")
    with pytest.raises(ConfigError, match="a multiple of 4"):
        TrialRun(spec_of(), settings, 2).open()
    assert only_row(settings)["status"] == "failed" and "a multiple of 4" in only_row(settings)["error"]


def test_a_damaged_checkpoint_restarts_the_trial_and_the_row_says_so(tmp_path, caplog):
    settings = settings_of(tmp_path)
    first = TrialRun(spec_of(), settings, 2)
    first.step()
    (checkpoint,) = tmp_path.rglob("*.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(CheckpointError):
        settings.checkpoints("s").load(spec_of().trial_id)
    again = TrialRun(spec_of(), settings, 2)
    with caplog.at_level(logging.WARNING):
        while not again.step()["done"]:
            pass
    row = only_row(settings)
    assert row["status"] == "finished" and pd.isna(row["error"])
    assert checkpoint.name in row["notes"] and row["notes"].endswith("the trial started anew")
    assert (row["missing_labelled"], row["missing_test"]) == (0, 3)
    assert ResultStore(settings.store).epochs().attempt.tolist() == [2, 2, 2]


def actor(settings: RunSettings, spec_json: str) -> InlineTrial:
    trial = object.__new__(InlineTrial)  # without Tune's own set-up
    trial.setup({"settings": settings.to_json(), "spec": spec_json, "planned": 2})
    return trial


def test_the_actor_reports_an_error_of_ours_and_goes_on(tmp_path):
    settings = settings_of(tmp_path)
    result = actor(settings, spec_of(BROKEN).to_json()).step()
    assert result["done"] and "clips/a.mp4" in result["failed"] and not result.get("fatal")
    assert only_row(settings)["status"] == "failed"


def test_a_trial_that_cannot_even_be_recorded_stops_the_sweep(tmp_path):
    spec = spec_of()
    spec.config["optim"]["epoch"] = 3  # as an older version might have written it
    result = actor(settings_of(tmp_path), spec.to_json()).step()
    assert result["fatal"] and "epoch" in result["failed"]


# --- the work folder -----------------------------------------------------------------------------------------------


def test_the_work_folder_keeps_a_uris_query():
    uri = "s3://bucket/x/?endpoint_override=localhost:9&scheme=http&region=us-east-1"
    checkpoints = RunSettings(store=uri).checkpoints("s").location
    assert checkpoints.root == "bucket/x.work/checkpoints/s"
    assert checkpoints.uri == uri.replace("/x/?", "/x.work/checkpoints/s?")
    assert Location(checkpoints.uri).root == checkpoints.root


def test_the_work_folder_of_a_local_store_lies_beside_it(tmp_path):
    for uri in (str(tmp_path / "what?"), f"file://{tmp_path}/plain"):
        store = Location(uri)
        assert store.sibling(".work").uri == store.sibling(".work").root == store.root + ".work"


def test_checkpoints_go_through_the_stores_own_file_system(tmp_path):
    store = Location("mock:///bucket/x?y=1")
    store._fs, store.root = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "bucket/x"
    folder = CheckpointFolder(store.sibling(".work/checkpoints/s"))
    assert folder.load("t0") is None
    folder.save("t0", {"epoch": 3})
    assert (tmp_path / "bucket/x.work/checkpoints/s/t0.pt").is_file()
    assert folder.load("t0")["epoch"] == 3
    (tmp_path / "bucket/x.work/checkpoints/s/t0.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError):
        folder.load("t0")
    folder.remove("t0")
    assert folder.load("t0") is None


def test_a_study_is_run_by_one_process_at_a_time(tmp_path):
    work = Location(tmp_path / "store.work")
    with study_lock(work, "s"):
        said = r"study 's' is being run by pid \d+ on host \S+; wait for it or give"
        with pytest.raises(StoreError, match=said), study_lock(work, "s"):
            pass
        with study_lock(work, "other"):
            pass
    with study_lock(work, "s"):
        pass


def test_a_lock_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "store.work").write_text("in the way")
    with pytest.raises(StoreError, match=r"store\.work"), study_lock(Location(tmp_path / "store.work"), "s"):
        pass


def test_the_toy_is_what_the_trials_trained(tmp_path):
    settings = settings_of(tmp_path)
    trial = TrialRun(spec_of(), settings, 2)
    while not trial.step()["done"]:
        pass
    assert only_row(settings)["test_student_top1"] == ToyTrainer(trial.trainer.config).ceiling
    assert pd.isna(only_row(settings)["notes"])


# --- what the row says -----------------------------------------------------------------------------------------------


def trained(settings: RunSettings, spec: TrialSpec | None = None) -> TrialRun:
    trial = TrialRun(spec or spec_of(), settings, 2)
    while not trial.step()["done"]:
        pass
    trial.close()
    return trial


def test_the_row_says_which_trial_it_is_and_where_its_log_lies(tmp_path):
    settings = settings_of(tmp_path)
    spec = replace(spec_of(), stage="confirm", confirms="s.FX.003", config=spec_of().config | {"seed": 5})
    trained(settings, spec)
    row = only_row(settings)
    assert (row["stage"], row["confirms"], row["train_seed"], row["workers"]) == ("confirm", "s.FX.003", 5, 1)
    assert Path(row["log"]).is_relative_to(tmp_path / "store.work") and "epoch 3" in Path(row["log"]).read_text()
    assert list((tmp_path / "store.work/tensorboard").rglob("events*"))


def test_every_write_of_the_row_says_when(tmp_path, monkeypatch):
    settings = settings_of(tmp_path)
    times = iter(f"2030-01-01T00:00:{n:02}+00:00" for n in range(60))
    monkeypatch.setattr("studies.engine.trial_run.now", lambda: next(times))
    trial, seen = TrialRun(spec_of(), settings, 2), []
    for _ in range(3):
        seen.append(only_row(settings)["updated_at"])
        trial.step()
    seen.append(only_row(settings)["updated_at"])
    assert seen == sorted(set(seen)) and only_row(settings)["started_at"] < seen[0]


def test_accelerator_time_is_that_of_all_workers(tmp_path):
    settings = replace(settings_of(tmp_path), gpus=2.0, workers=4)
    trained(settings)
    row = only_row(settings)
    assert (
        row["workers"] == 4 and row["accelerator_seconds"] == pytest.approx(8 * row["seconds"]) and row["seconds"] > 0
    )


def test_test_clips_can_be_left_alone(tmp_path, monkeypatch):
    settings = replace(settings_of(tmp_path), tests_clips=False)
    monkeypatch.setattr(ToyTrainer, "evaluate", lambda self, part: pytest.fail("the test clips were read"))
    trained(settings)
    row = only_row(settings)
    assert row["status"] == "finished" and row["epochs_done"] == 3 and pd.isna(row["test_student_top1"])
    assert row["dev_student_top1"] > 0 and ResultStore(settings.store).predictions().empty


def test_settings_travel_as_text():
    settings = RunSettings(
        store="s3://b/x", gpus=0.5, workers=3, memory_fraction=0.4, tests_clips=False, patience_seconds=1
    )
    assert RunSettings.from_json(settings.to_json()) == settings
