"""The sweep end to end: run, run again, extend, stop, kill, resume, fail. Training is a toy with known numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sefar.errors import ConfigError, SefarError, StoreError
from sefar.recipes import recipe
from studies.engine.history import plan_column
from studies.engine.lock import study_lock
from studies.engine.options import study_of, sweep_options, sweep_parser
from studies.engine.space import SCOPE_SWEEP
from studies.engine.spec import Axis, Study
from studies.engine.sweep import SweepOptions, is_complete, plan_confirm, plan_sweep, run_sweep
from studies.engine.trial_run import RunSettings, TrialRun
from studies.results.leaderboard import failures
from studies.results.store import ResultStore
from tests.studies.toy import ToyTrainer

FX, UB = "synthgym/event:FX@1pc#0", "synthgym/event:UB@1pc#0"
BROKEN = "synthgym/set:broken"
TOY = "tests.studies.toy:ToyWorkload"
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = [sys.executable, str(ROOT / "tests/studies/sweep_script.py")]


def make_study(*, scopes: tuple[str, ...] = (FX, UB), trials: int = 4, epochs: int = 6, **fields: object) -> Study:
    base = recipe("synthgym_tiny", {"optim.epochs": epochs, "objective.warmup_epochs": 0})
    axis = Axis(key="scope.name", values=scopes)
    return Study(**({"name": "s", "base": base, "scopes": axis, "space": SCOPE_SWEEP, "trials": trials} | fields))


def sweep(store: Path, study: Study | None = None, **options: object) -> tuple[ResultStore, list[str]]:
    said: list[str] = []
    options = {"store": str(store), "workload": TOY} | options
    return run_sweep(study or make_study(), SweepOptions(**options), said.append), said


# --- without Ray -------------------------------------------------------------------------------------------------


def script(*flags: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SCRIPT, *flags], capture_output=True, text=True, cwd=cwd or ROOT, timeout=300, env=os.environ | environment
    )


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--preset", "quik"], "--preset: 'quik' is unknown — did you mean 'quick'?"),
        (["--trails", "3"], "--trails: unknown flag — did you mean '--trials'?"),
        (["--trials", "many"], "--trials: expected an integer ≥ 1, got 'many'"),
        (["--recipe", "synthgym_tny"], "did you mean 'synthgym_tiny'?"),
        (["--set", "perturb.strenght=1"], "did you mean 'perturb.strength'?"),
        (["--set", "seed"], "expected key=value"),
        (["--set", "perturb.kind=drop"], "--set perturb.kind: the search chooses it; leave it out"),
        (["--set", "optim.epochs=9", "weighting.threshold=0.7"], "--set weighting.threshold: the search chooses it"),
        (["--set", "scope.name=synthgym/all"], "--set scope.name: the study visits all of --scopes"),
        (["--scopes", "synthgim/all"], "did you mean 'synthgym'?"),
        (["--workers", "0"], "--workers: expected an integer ≥ 1, got '0'"),
        (["--scope-order", "cheapest"], "--scope-order: 'cheapest' is unknown"),
        (["--transfer", "2"], "--transfer 2: scopes learn from cheaper ones"),
        (["--budget-hours", "soon"], "--budget-hours: expected a number ≥ 0, got 'soon'"),
        (["--space", "nowhere.toml"], "nowhere.toml"),
        (["--address", "loca"], "did you mean 'local'?"),
        (["--name", "a/b"], "--name"),
        (["--epochs", "1"], "objective.warmup_epochs"),
    ],
)
def test_bad_flags_are_one_line(flags, text, tmp_path, capsys, monkeypatch):
    from studies import scope_sweep

    monkeypatch.setattr(sys, "argv", ["scope_sweep.py", *flags, "--store", str(tmp_path / "store")])
    with pytest.raises(SystemExit) as exit_:
        scope_sweep.main()
    said = capsys.readouterr()
    assert exit_.value.code == 2
    assert text in said.err and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_relative_paths_outlive_a_ray_job(monkeypatch, tmp_path):
    """Ray deletes the folder that a job runs in."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    flags = sweep_parser("").parse_args(["--store", "runs/x", "--root", "clips"])
    for folder in (tmp_path, tmp_path / "home"):
        assert sweep_options(flags).store == str(folder / "runs/x")
        assert study_of(flags, "s", SCOPE_SWEEP).base.scope.root == str(folder / "clips")
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    far = sweep_parser("").parse_args(["--store", "s3://b/x", "--root", "/clips"])
    assert sweep_options(far).store == "s3://b/x" and study_of(far, "s", SCOPE_SWEEP).base.scope.root == "/clips"


def test_dry_run_shows_the_space_and_touches_nothing(tmp_path, capsys, monkeypatch):
    from studies import scope_sweep

    monkeypatch.setattr(sys, "argv", ["scope_sweep.py", "--dry-run", "--store", str(tmp_path / "store")])
    with pytest.raises(SystemExit) as exit_:
        scope_sweep.main()
    said = capsys.readouterr().out
    assert exit_.value.code == 0 and "12 trials over 2 scopes" in said
    assert "weighting.threshold" in said and "weighting.kind = fixed" in said
    assert not (tmp_path / "store").exists()


def test_nothing_to_resume_or_extend(tmp_path):
    for option in ({"resume": True}, {"extend": 2}):
        with pytest.raises(ConfigError, match=r"holds no study 's'"):
            sweep(tmp_path / "store", **option)


def run_main(monkeypatch: pytest.MonkeyPatch, *flags: str) -> int:
    from studies import scope_sweep

    monkeypatch.setattr(sys, "argv", ["scope_sweep.py", *flags])
    with pytest.raises(SystemExit) as exit_:
        scope_sweep.main()
    return int(exit_.value.code or 0)


def trained_store(path: Path, study: Study) -> ResultStore:
    """A store with the study's trials, run one after another without Ray."""
    store = ResultStore(str(path), create=True)
    hashes = {"study_hash": study.hash, "space_hash": study.space.hash}
    settings = RunSettings(store=store.uri, workload=TOY, study=hashes)
    for scope in study.scopes.values:
        for number, role in enumerate(("default", "supervised")):
            trial = TrialRun(study.spec(scope, number, role), settings, study.trials)
            while not trial.step()["done"]:
                pass
    return store


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    """A complete study of four trials under the flags of `COMPLETE`."""
    flags = sweep_parser("").parse_args(COMPLETE)
    trained_store(tmp_path / "a b" / "store", study_of(flags, "scope-sweep", SCOPE_SWEEP))
    return tmp_path / "a b" / "store"


COMPLETE = ["--preset", "quick", "--trials", "2", "--name", "done"]


def test_dry_run_says_what_the_run_would_do(complete, capsys, monkeypatch):
    assert run_main(monkeypatch, *COMPLETE, "--dry-run", "--store", str(complete)) == 0
    assert "is already complete: 4 trials" in capsys.readouterr().out
    assert run_main(monkeypatch, *COMPLETE, "--dry-run", "--extend", "3", "--store", str(complete)) == 0
    assert "4 of 10 trials are done, 6 to run" in capsys.readouterr().out
    for flags, text in (
        (["--epochs", "2"], "was run with other settings (optim.epochs 3 → 2)"),
        (["--name", "dome", "--resume"], "did you mean 'done'?"),
    ):
        assert run_main(monkeypatch, *COMPLETE, *flags, "--dry-run", "--store", str(complete)) == 2
        assert text in capsys.readouterr().err
    for flag in (["--resume"], ["--extend", "2"]):
        assert run_main(monkeypatch, *COMPLETE, *flag, "--dry-run", "--store", str(complete / "new")) == 2
        assert "there is no result store" in capsys.readouterr().err
    (complete.parent / "notes.txt").write_text("x")
    assert run_main(monkeypatch, *COMPLETE, "--dry-run", "--store", str(complete.parent)) == 2
    assert "is not a result store" in capsys.readouterr().err


def test_dry_run_counts_real_runs_and_looks_at_the_confirm_stage(complete, capsys, monkeypatch):
    def said(*flags: str) -> str:
        assert run_main(monkeypatch, *COMPLETE, "--dry-run", "--confirm", "1", "--store", str(complete), *flags) == 0
        return capsys.readouterr().out

    text = said()
    assert "of each scope, 4 runs each" in text and "16 trials over 4 scopes, 16 to run" in text
    assert "cluster: 1 node" in text and "16 trials of 3 epochs at most" in text
    new = str(complete.parent / "new")
    assert "of each scope, 2 or 4 runs each" in said("--store", new, "--scopes", "synthgym/all", FX)


def test_an_extension_waits_until_an_earlier_plan_is_done(tmp_path):
    study = make_study(trials=2)
    store = trained_store(tmp_path / "store", study)
    options = SweepOptions(store=store.uri, extend=2)
    plan = plan_sweep(study, store, options)
    assert (plan.planned, plan.left, plan.waits) == ({FX: 4, UB: 4}, 4, "")
    settings = RunSettings(store=store.uri, workload=TOY, study=study.columns | plan_column(plan.planned))
    TrialRun(study.spec(FX, 2, "search"), settings, 4).step()
    for night in (options, replace(options, extend=0)):
        plan = plan_sweep(study, store, night)
        assert (plan.planned, plan.left) == ({FX: 4, UB: 4}, 4)
    summary = plan_sweep(study, store, options).summary(study)
    assert "4 of 8 trials are done, 4 to run, 1 of them taken up where they stopped" in summary
    assert summary.endswith("; --extend 2 waits until they are done")


def test_an_extension_waits_for_a_confirmation_that_has_begun(tmp_path):
    study = make_study(trials=2, scopes=(FX,))
    store = trained_store(tmp_path / "store", study)
    options = SweepOptions(store=store.uri, extend=2, confirm=1)
    assert plan_sweep(study, store, options).left == 2
    settings = RunSettings(store=store.uri, workload=TOY, study=study.columns)
    first, *others = plan_confirm(study, store, options).left
    for spec in (first, *others):
        trial = TrialRun(spec, settings, 8)
        while not trial.step()["done"]:
            if spec is first:
                plan = plan_sweep(study, store, options)
                assert plan.left == 0 and plan.waits and not is_complete(study, store, options)
                assert plan.summary(study).endswith("2 trials are done; --extend 2 waits for those that confirm them")
    assert plan_sweep(study, store, options).left == 2 and is_complete(study, store, options)


def test_a_report_on_nothing_yet(tmp_path, capsys):
    from studies import scope_sweep

    store = ResultStore(str(tmp_path / "store"), create=True)
    scope_sweep.report(make_study(), store, sweep_parser("").parse_args([]))
    assert "picture: none; no search trial has started" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))


def test_usage_names_the_choices():
    usage = " ".join(sweep_parser("").format_usage().split())
    for text in ("--preset {quick,default,full}", "--scope-order {round-robin,cheap-first}", "--address {auto,local}"):
        assert text in usage


def test_the_hints_can_be_typed(complete, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run_main(monkeypatch, *COMPLETE, "--store", str(complete), "--resume") == 0
    said = capsys.readouterr().out
    hints = {
        line.split(":")[0]: line.split(":", 1)[1].strip()
        for line in said.splitlines()
        if line.startswith(("next:", "read:"))
    }
    following = subprocess.run(f"{hints['next']} --dry-run", shell=True, capture_output=True, text=True, cwd=ROOT)
    assert "4 of 12 trials are done, 8 to run" in following.stdout, following.stderr
    assert "--resume" not in hints["next"]
    reading = subprocess.run(hints["read"], shell=True, capture_output=True, text=True, cwd=ROOT)
    assert reading.returncode == 0 and "[4 rows x" in reading.stdout, reading.stderr


def test_a_picture_that_cannot_be_written_costs_nothing_else(complete, capsys, monkeypatch):
    (complete.parent / "done.png").mkdir()  # stands in for a folder that root cannot be kept out of
    assert run_main(monkeypatch, *COMPLETE, "--store", str(complete)) == 0
    said = capsys.readouterr().out
    assert "best on dev" in said and "next:" in said
    assert "picture: none; " in said and "done.png cannot be written" in said
    assert not list(complete.parent.glob(".*"))


def test_two_runs_of_one_study_do_not_meet(complete, capsys, monkeypatch):
    with study_lock(ResultStore(str(complete)).location.sibling(".work"), "done"):
        assert run_main(monkeypatch, *COMPLETE, "--store", str(complete)) == 2
        assert f"error: study 'done' is being run by pid {os.getpid()} on host" in capsys.readouterr().err
    assert run_main(monkeypatch, *COMPLETE, "--store", str(complete)) == 0


def test_what_ray_raises_becomes_one_line():
    from ray.exceptions import RayActorError
    from ray.tune.error import TuneError

    from studies.engine.session import RayFailure, explained

    for error in (TuneError("Traceback …\n  File x\nthe last line"), RayActorError(), ConnectionError("gone")):
        with pytest.raises(RayFailure, match=r"Ray gave up .*: run the same command again") as caught, explained():
            raise error
        assert "\n" not in str(caught.value) and "File x" not in str(caught.value)
        assert caught.value.__cause__ is error
    with pytest.raises(StoreError, match="no space left"), explained():
        try:
            raise StoreError("x: no space left")
        except StoreError as cause:
            raise TuneError("wrapped") from cause
    with pytest.raises(KeyboardInterrupt), explained():
        raise KeyboardInterrupt


# --- in one Ray for the module ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    import ray

    from studies.engine.session import QUIET

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), **QUIET}},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def swept(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("swept") / "store"
    sweep(path)
    return path


@pytest.mark.ray
def test_a_sweep_leaves_every_trial_in_the_store(swept):
    store = ResultStore(str(swept))
    trials, epochs = store.trials(), store.epochs()
    assert trials.groupby("scope").size().to_dict() == {FX: 4, UB: 4}
    assert trials.groupby("role").size().to_dict() == {"default": 2, "search": 4, "supervised": 2}
    assert set(trials.status) <= {"finished", "pruned"}
    assert (trials[trials.role != "search"].status == "finished").all()
    for row in trials.itertuples():
        curve = epochs[epochs.trial_id == row.trial_id].epoch.tolist()
        assert curve == list(range(1, row.epochs_done + 1))
        assert row.epochs_done == 6 or (row.status == "pruned" and 2 <= row.epochs_done < 6)
    assert trials.split_hash.eq("toy-0").all() and trials.error.isna().all() and (trials.attempt == 1).all()
    assert trials.ray_version.notna().all() and (trials["config.optim.epochs"] == 6).all()
    finished = set(trials[trials.status == "finished"].trial_id)
    assert set(store.predictions().trial_id) == finished
    assert trials[trials.status == "pruned"].test_student_top1.isna().all()
    assert store.problems() == []
    assert not list(swept.with_name("store.work").rglob("*.pt"))  # ended trials leave no checkpoint


@pytest.mark.ray
def test_the_named_configurations_are_what_they_say(swept):
    trials = ResultStore(str(swept)).trials(scope=FX).set_index("role")
    assert trials.loc["supervised", "test_student_top1"] == 40.0
    default = recipe("synthgym_tiny", {"optim.epochs": 6, "objective.warmup_epochs": 0, "scope.name": FX})
    assert trials.loc["default", "test_student_top1"] == ToyTrainer(default).ceiling == 68.0
    assert trials.loc["default", "config_hash"] == default.content_hash()


@pytest.mark.ray
def test_a_second_run_says_that_all_is_done(swept):
    before = {f: f.stat().st_mtime_ns for f in swept.rglob("*.parquet")}
    _, said = sweep(swept)
    assert said == ["study 's' is already complete: 8 trials; use --extend N for N more a scope"]
    assert before == {f: f.stat().st_mtime_ns for f in swept.rglob("*.parquet")}


@pytest.mark.ray
def test_other_settings_under_the_same_name_are_refused(swept):
    for study, text in (
        (make_study(epochs=7), "optim.epochs 6 → 7"),
        (make_study(base=recipe("synthgym_tiny", {"optim.epochs": 6})), "objective.warmup_epochs 0 → 1"),
        (make_study(seed=5), "another search seed"),
    ):
        with pytest.raises(ConfigError, match=text):
            sweep(swept, study)
    with pytest.raises(ConfigError, match="did you mean 's'"):
        sweep(swept, make_study(name="ss"), resume=True)


@pytest.mark.ray
def test_changed_data_is_noticed(swept, monkeypatch):
    monkeypatch.setenv("TOY_SPLIT", "1")
    with pytest.raises(StoreError, match=r"clips or labels have changed .*toy-0 → toy-1"):
        sweep(swept, make_study(trials=5))


@pytest.mark.ray
def test_extending_adds_trials_and_leaves_the_old_ones(ray_session, tmp_path):
    store, _ = sweep(tmp_path / "store", make_study(trials=2))
    old = store.trials()
    store, said = sweep(tmp_path / "store", make_study(trials=2), extend=2)
    assert "4 of 8 trials are done, 4 to run" in said[0]
    new = store.trials()
    assert new.groupby("scope").number.apply(list).to_dict() == {FX: [0, 1, 2, 3], UB: [0, 1, 2, 3]}
    pd.testing.assert_frame_equal(new[new.number < 2].reset_index(drop=True)[old.columns], old)
    _, said = sweep(tmp_path / "store", make_study(trials=2))
    assert "already complete: 8 trials" in said[0]


@pytest.mark.ray
def test_a_clip_that_does_not_decode_fails_its_trials_only(ray_session, tmp_path):
    store, _ = sweep(tmp_path / "store", make_study(scopes=(BROKEN, FX), trials=3))
    trials = store.trials()
    assert trials[trials.scope == FX].status.isin(["finished", "pruned"]).all()
    broken = trials[trials.scope == BROKEN]
    assert (broken.status == "failed").all() and broken.error.str.contains("clips/a.mp4: frame 3").all()
    assert (broken.error.str.count("\n") == 0).all()
    assert "the paper's default of scope 'synthgym/set:broken' failed" in (failures(trials) or "")
    _, said = sweep(tmp_path / "store", make_study(scopes=(BROKEN, FX), trials=3))
    assert "3 of them failed: --retry-failed" in said[0]
    _, said = sweep(tmp_path / "store", make_study(scopes=(BROKEN, FX), trials=3), retry_failed=True)
    assert "3 to run" in said[0]
    assert store.trials(scope=BROKEN).attempt.tolist() == [2, 2, 2]


@pytest.mark.ray
def test_a_store_that_fails_stops_the_sweep(ray_session, tmp_path):
    """The checkpoint folder is a file, so no trial can save: one error, not one a trial."""
    (tmp_path / "store.work").mkdir()
    (tmp_path / "store.work/checkpoints").write_text("in the way")
    with pytest.raises(SefarError, match=r"store\.work"):
        sweep(tmp_path / "store")
    trials = ResultStore(str(tmp_path / "store")).trials()
    assert len(trials) <= 2 and (trials.status == "running").all()
    (tmp_path / "store.work/checkpoints").unlink()
    store, said = sweep(tmp_path / "store")
    assert "taken up where they stopped" in said[0]
    assert store.trials().groupby("scope").size().to_dict() == {FX: 4, UB: 4}


@pytest.mark.ray
def test_too_much_concurrency_is_refused(ray_session, tmp_path):
    with pytest.raises(ConfigError, match="--concurrency 64: at most 2 trials run at once on 2 CPUs"):
        sweep(tmp_path / "store", concurrency=64)
    with pytest.raises(ConfigError, match="has 0 GPUs"):
        sweep(tmp_path / "store", gpus_per_worker=0.5)


@pytest.mark.ray
def test_a_used_up_budget_stops_cleanly_and_the_sweep_goes_on_later(ray_session, tmp_path, monkeypatch):
    """The budget ends with the seventh epoch instead of by the clock."""
    from studies.engine import execution
    from studies.engine.budget import Budget

    class SevenEpochs(Budget):
        epochs = 0

        @property
        def used_up(self) -> bool:
            return self.epochs >= 7

        def __call__(self, trial_id, result):
            self.epochs += 1
            return super().__call__(trial_id, result)

    monkeypatch.setattr(execution, "Budget", SevenEpochs)
    study = make_study(trials=4)
    store, said = sweep(tmp_path / "store", study, budget_hours=1.0)
    assert said[-1] == "the budget of 1 hours is used up; the same command goes on from here"
    before = store.trials()
    assert len(store.epochs()) in (7, 8)  # the other trial at the same time finishes its epoch
    assert len(before) < 8 and "running" in set(before.status) and "pruned" not in set(before.status)
    monkeypatch.undo()
    store, said = sweep(tmp_path / "store", study)
    assert "taken up where they stopped" in said[0]
    after = store.trials()
    assert after.groupby("scope").size().tolist() == [4, 4] and after.status.isin(["finished", "pruned"]).all()
    assert len(store.epochs(all_attempts=True)) == len(store.epochs())  # no epoch was trained twice


@pytest.mark.ray
def test_a_budget_that_ends_on_a_rung_costs_no_decision(ray_session, tmp_path, monkeypatch):
    """One trial at a time: the interrupted sweep comes to the same rows as the whole one."""
    from studies.engine import execution
    from studies.engine.budget import Budget

    columns = ["trial_id", "status", "epochs_done", "dev_student_top1", "parameters", "attempt"]
    study = make_study(scopes=(FX,), trials=6)
    whole = sweep(tmp_path / "whole", study, concurrency=1)[0].trials().sort_values("number")
    at = (whole.status == "pruned").to_numpy().argmax()
    assert whole.status.iloc[at] == "pruned"
    last = int(whole.epochs_done.iloc[: at + 1].sum())

    class Epochs(Budget):
        """Ends with the epoch after which the whole sweep stopped its first trial."""

        epochs = 0

        @property
        def used_up(self) -> bool:
            return self.epochs >= last

        def __call__(self, trial_id, result):
            self.epochs += 1
            return super().__call__(trial_id, result)

    monkeypatch.setattr(execution, "Budget", Epochs)
    store, said = sweep(tmp_path / "store", study, concurrency=1, budget_hours=1.0)
    assert "used up" in said[-1] and store.trials().status.tolist().count("running") == 1
    monkeypatch.undo()
    store, said = sweep(tmp_path / "store", study, concurrency=1)
    assert "1 of them is pruned at the rung where the last run ended" in said
    again = store.trials().sort_values("number")
    pd.testing.assert_frame_equal(again[columns], whole[columns])
    assert not list((tmp_path / "store.work").rglob("*.pt"))


@pytest.mark.ray
def test_a_budget_of_nothing_and_a_budget_just_enough(ray_session, tmp_path, monkeypatch):
    study, over = make_study(scopes=(FX,), trials=2), "used up; the same command goes on from here"
    store, said = sweep(tmp_path / "store", study, budget_hours=0.0)
    assert said[-1].endswith(over) and store.trials().empty
    from studies.engine import execution
    from studies.engine.budget import Budget

    class Exact(Budget):
        ended = 0

        @property
        def used_up(self) -> bool:
            return self.ended >= 2

        def __call__(self, trial_id, result):
            self.ended += bool(result.get("done"))
            return super().__call__(trial_id, result)

    monkeypatch.setattr(execution, "Budget", Exact)
    store, said = sweep(tmp_path / "store", study, budget_hours=1.0)
    assert store.trials().status.tolist() == ["finished"] * 2 and not any(over in line for line in said)


@pytest.mark.ray
def test_the_best_are_confirmed_over_seeds_and_splits_and_only_they_are_tested(ray_session, tmp_path):
    study = make_study(scopes=(FX,), trials=4)
    store, said = sweep(tmp_path / "store", study, confirm=1, confirm_seeds=2, confirm_splits=2)
    rows = store.trials()
    search, confirm = rows[rows.stage == "search"], rows[rows.stage == "confirm"]
    assert len(search) == 4 and search.test_student_top1.isna().all()
    assert (confirm.status == "finished").all() and confirm.test_student_top1.notna().all()
    best = search[search.status == "finished"].sort_values("dev_student_top1").iloc[-1]
    named = {"default", "supervised"}
    configurations = len({best.trial_id, *search[search.role.isin(list(named))].trial_id})
    assert len(confirm) == configurations * 4
    assert set(confirm.scope) == {FX.replace("#0", "#1"), FX.replace("#0", "#2")} and confirm.train_seed.nunique() == 2
    assert confirm.trial_id.is_unique and (confirm.epochs_done == 6).all()
    assert any("confirming" in line for line in said)
    _, said = sweep(tmp_path / "store", study, confirm=1, confirm_seeds=2, confirm_splits=2)
    assert "already complete" in said[0] and said[-1].endswith("all done")
    store, said = sweep(tmp_path / "store", study, confirm=1, confirm_seeds=3, confirm_splits=2)
    assert f"{configurations * 6} trials over 2 scopes, {configurations * 2} to run" in "\n".join(said)
    assert store.trials().trial_id.is_unique and len(store.trials()) == 4 + configurations * 6


@pytest.mark.ray
def test_a_store_that_a_node_does_not_see_is_refused_before_anything_starts(ray_session, tmp_path, monkeypatch):
    monkeypatch.setattr("studies.engine.shared_folder._sees", lambda path: ("node-b", False))
    said = rf"^{tmp_path}/store: node node-b does not see this folder; give --store a folder that all nodes share"
    with pytest.raises(StoreError, match=said):
        sweep(tmp_path / "store", address="auto")
    assert ResultStore(str(tmp_path / "store")).trials().empty
    assert not list(tmp_path.rglob(".probe-*"))
