"""The sweep's command without Ray: flags, dry runs, what it says and refuses. Training is a toy with known numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sefar.errors import ConfigError, StoreError
from studies.engine.history import plan_column
from studies.engine.lock import study_lock
from studies.engine.options import study_of, sweep_options, sweep_parser
from studies.engine.space import SCOPE_SWEEP
from studies.engine.spec import Study
from studies.engine.sweep import SweepOptions, is_complete, plan_confirm, plan_sweep
from studies.engine.trial_run import RunSettings, TrialRun
from studies.results.store import ResultStore
from tests.studies.sweeps import FX, ROOT, TOY, UB, make_study, sweep


def run_main(monkeypatch: pytest.MonkeyPatch, *flags: str) -> int:
    from studies import scope_sweep

    monkeypatch.setattr(sys, "argv", ["scope_sweep.py", *flags])
    with pytest.raises(SystemExit) as exit_:
        scope_sweep.main()
    return int(exit_.value.code or 0)


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
    assert run_main(monkeypatch, *flags, "--store", str(tmp_path / "store")) == 2
    said = capsys.readouterr()
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
    assert run_main(monkeypatch, "--dry-run", "--store", str(tmp_path / "store")) == 0
    said = capsys.readouterr().out
    assert "12 trials over 2 scopes" in said
    assert "weighting.threshold" in said and "weighting.kind = fixed" in said
    assert not (tmp_path / "store").exists()


def test_nothing_to_resume_or_extend(tmp_path):
    for option in ({"resume": True}, {"extend": 2}):
        with pytest.raises(ConfigError, match=r"holds no study 's'"):
            sweep(tmp_path / "store", **option)


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
