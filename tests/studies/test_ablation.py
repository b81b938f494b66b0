"""Ablations from the command line: what is listed, run, kept and refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from sefar.errors import SefarError
from studies import ablation as script
from studies.engine import grid
from studies.engine.grid import GridOptions, GridRun, plan_grid
from studies.engine.trial_run import RunSettings
from studies.results.schema import FINISHED
from studies.results.store import ResultStore

ROOT = Path(__file__).resolve().parents[2]
TOY = "tests.studies.toy:ToyWorkload"
# the toy reaches 60 + 10 strength − γ₂, so perturbations are easy to tell apart
SHORT = ["--set", "optim.epochs=3", "objective.warmup_epochs=0", "objective.gamma_mix=1"]
ARMS = ["perturbations", "--arms", "reverse_fine_50"]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the script in this process with the toy workload; its exit code."""
    monkeypatch.setattr(sys, "argv", ["ablation.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        script.main(TOY)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def files(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.rglob("*.parquet")}


def test_two_arms_end_to_end_and_not_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, table = tmp_path / "store", tmp_path / "new" / "table.md"
    command = [*ARMS, "--seeds", 2, "--store", store, "--concurrency", 2, "--table", table, *SHORT]
    assert call(monkeypatch, *command) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 runs, 4 to run\n[1/4] ")
    assert "[4/4] core@1pc" in said and "test student 69.0 %, teacher 1.0 %" in said
    # strength ½ costs the toy 5 points on every seed
    assert "| reverse_fine | every fine element backwards: SeFAR | 2 | 69.0 ± 0.0 |" in table.read_text()
    assert "| 2 | 64.0 ± 0.0 | 1.0 ± 0.0 | -5.0 ± 0.0 |" in table.read_text()
    assert table.read_text() in said
    trials = ResultStore(str(store)).trials(study="ablation")
    assert sorted(trials.role) == ["perturbations/reverse_fine_50"] * 2 + ["reference"] * 2
    assert (trials.status == FINISHED).all() and set(trials.recipe) == {"synthgym_tiny"}
    for row in trials.itertuples():
        assert row.scope == f"synthgym/core@1pc#{row.number}"  # the split's seed is the training's
    before = files(store)
    assert call(monkeypatch, *command, "--resume") == 0
    assert capsys.readouterr().out.startswith("4 runs, 0 to run\n\n## perturbations:")
    # another ablation has the reference in common and another seed is new
    assert call(monkeypatch, "passes", "--arms", "s1", "--seeds", 1, "--store", store, *SHORT) == 0
    assert capsys.readouterr().out.startswith("2 runs, 1 to run\n")
    assert before.items() <= files(store).items()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_study_goes_on_where_it_stopped(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, str(ROOT / "tests/studies/ablation_script.py"), *ARMS, "--seeds", "1", "--store", "s"]
    command += ["--concurrency", "1", *SHORT]
    slow = {**os.environ, "TOY_EPOCH_SECONDS": "1.5"}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    running = subprocess.Popen(command, cwd=tmp_path, env=slow, text=True, **pipes)
    epochs = pd.DataFrame()
    while len(epochs) < 2 and running.poll() is None:
        time.sleep(0.2)
        epochs = ResultStore(str(tmp_path / "s"), create=True).epochs()
    children = _children(running.pid)
    running.send_signal(how)  # to the parent alone; a terminal's Ctrl-C reaches the children too
    _, told = running.communicate(timeout=20)
    if how != signal.SIGKILL:
        assert (running.returncode, told) == (130, "stopped; what was finished is kept\n")
    deadline = time.monotonic() + 20
    while any(_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert children and not any(_alive(child) for child in children)  # no orphan goes on writing
    done = subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 runs, 2 to run, 1 of them taken up where they stopped\n")
    store = ResultStore(str(tmp_path / "s"))
    assert (store.trials().status == FINISHED).all()
    assert store.epochs().groupby("trial_id").epoch.apply(list).tolist() == [[1, 2, 3]] * 2
    first = store.epochs(all_attempts=True).query("attempt == 1 and trial_id == @epochs.trial_id.iloc[0]")
    assert 2 <= len(first) <= 3
    second = store.read("epochs", all_attempts=True).query("attempt == 2 and trial_id == @epochs.trial_id.iloc[0]")
    # not trained again, but for the last one: its rows are written before its checkpoint
    assert set(first.epoch) & set(second.epoch) <= {first.epoch.max()}


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_run_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*ARMS, "--seeds", 1, "--store", tmp_path / "s", "--scopes", "synthgym/set:broken", "synthgym/core@1pc"]
    command += ["--concurrency", 1, *SHORT]
    assert call(monkeypatch, *command) == 2
    said = capsys.readouterr()
    assert said.out.count(": failed: clips/a.mp4: frame 3 does not decode") == 2
    assert "| reverse_fine | every fine element backwards: SeFAR | 1 | 69.0 |" in said.out
    assert said.err == (
        "error: 2 runs failed, the first (reference, set:broken) with: clips/a.mp4: frame 3 does not decode "
        "(truncated); render or fetch the clip again; --retry-failed takes them up again\n"
    )
    assert call(monkeypatch, *command) == 2
    assert capsys.readouterr().out.startswith("4 runs, 0 to run\n")
    assert call(monkeypatch, *command, "--retry-failed") == 2
    assert capsys.readouterr().out.startswith("4 runs, 2 to run\n")


@pytest.mark.parametrize(("concurrency", "mend"), [(1, "more memory"), (2, "--concurrency below 2")])
def test_a_process_that_dies_is_one_line_and_its_run_is_taken_up(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    concurrency: int,
    mend: str,
) -> None:
    command = [*ARMS, "--seeds", 1, "--store", tmp_path / "s", "--concurrency", concurrency, *SHORT]
    monkeypatch.setenv("TOY_DIES", "1")
    assert call(monkeypatch, *command) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: a run's process died") and said.endswith(f"again, with {mend}\n")
    assert said.count("\n") == 1
    monkeypatch.delenv("TOY_DIES")
    assert call(monkeypatch, *command, "--resume") == 0
    assert (ResultStore(str(tmp_path / "s")).trials().status == FINISHED).all()


def test_a_reference_other_than_the_recipe_is_named_by_its_ablation() -> None:
    def roles(study: str, recipe: str) -> list[str]:
        flags = ["--seeds", "1", "--recipe", recipe]
        return [run.role for run in script.grid_of(script.parser().parse_args([study, *flags])).runs()]

    # the paper's reversal is not the released recipe's, whose teacher has the reference's passes
    assert "reference" not in roles("perturbations", "released_vit_s")
    assert roles("perturbations", "released_vit_s")[0] == "perturbations/reverse_fine"
    for study, recipe in (("passes", "released_vit_s"), ("perturbations", "paper_vit_s")):
        assert roles(study, recipe).count("reference") == 1


def test_dry_run_lists_every_run_and_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scopes = ["synthgym/core@1pc", "synthgym/pairs@0.05"]
    flags = ["components", "--dry-run", "--seeds", 2, "--store", tmp_path / "s", "--scopes", *scopes]
    assert call(monkeypatch, *flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "components: What does each component of SeFAR add? (paper: Table 3)"
    at = lines.index("  none: one granularity of 8 frames, warp, constant weight")
    assert (
        lines[at + 1].strip().startswith("sampling.frames_per_granularity=[8], perturb.kind=warp, weighting.kind=con")
    )
    assert lines[at + 2] == "      paper: Gym99 5 % 32.6, Gym288 5 % 22.7, FineDiving 5 % 60.4"
    assert "  regulation (reference): + adaptive regulation: SeFAR" in lines
    runs = lines[lines.index("16 runs:") + 1 :]
    expected = {
        f"{arm}  {scope}#{seed}  seed {seed}"
        for arm in ("none", "dual", "perturbation", "regulation")
        for scope in scopes
        for seed in (0, 1)
    }
    assert {"  ".join(line.split("  ")[1:4]) for line in runs} == expected
    assert all(line.endswith("  to run") for line in runs) and len(runs) == 16
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["component"], "study 'component' is unknown — did you mean 'components'?"),
        ([], "the following arguments are required: STUDY"),
        (["passes", "--arms", "s3"], "--arms: 'passes' has no arm 's3' — did you mean 's"),
        (
            ["passes", "--recipe", "synthgym_tinny"],
            "recipe 'synthgym_tinny' is unknown — did you mean 'synthgym_tiny'?",
        ),
        (["passes", "--set", "teacher.passes=3"], "--set teacher.passes: the arms of 'passes' set it"),
        (["passes", "--set", "seed=3"], "--set seed: the study sets it; use --seeds"),
        (["passes", "--set", "optim.epoch=3"], "optim.epoch: unknown configuration key — did you mean 'optim.epochs'?"),
        (["passes", "--set", "optim.epochs"], "--set: expected key=value such as optim.epochs=20, got 'optim.epochs'"),
        (["passes", "--seeds", "0"], "--seeds: expected an integer ≥ 1, got 0"),
        (["passes", "--seds", "3"], "--seds: unknown flag — did you mean '--seeds'?"),
        (["passes", "--concurrency", "0"], "--concurrency: expected an integer ≥ 1, got 0"),
        (["passes", "--name", "a/b"], "--name: expected letters, digits, '-', '_' or '.', got 'a/b'"),
        (["passes", "--scopes", "synthgym/core@1pc#0"], "--scopes synthgym/core@1pc#0: each of --seeds is the split's"),
        (["passes", "--scopes", "synthgym/core@0"], "scope 'synthgym/core@0': the label fraction must lie in (0, 1]"),
        (["passes", "--resume"], "--resume"),
    ],
)
def test_bad_flags_are_one_line(
    flags: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *flags) == 2
    said = capsys.readouterr()
    expected = f"{tmp_path}/runs/ablation: there is no result store" if flags[-1:] == ["--resume"] else text
    assert said.err.startswith(f"error: {expected}") and said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_written_keeps_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["passes", "--arms", "s10", "--seeds", 1, "--store", tmp_path / "s", *SHORT]
    assert call(monkeypatch, *command, "--table", tmp_path) == 2
    assert (
        capsys.readouterr().err == f"error: --table {tmp_path}: cannot be written (Is a directory); the runs are kept\n"
    )
    assert call(monkeypatch, *command, "--table", tmp_path / "t.md") == 0
    assert capsys.readouterr().out.startswith("1 run, 0 to run\n")


def test_changed_data_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["passes", "--seeds", 1, "--store", tmp_path / "s", *SHORT]
    assert call(monkeypatch, *command, "--arms", "s10") == 0
    monkeypatch.setenv("TOY_SPLIT", "1")
    # a new run beside the old one would be compared with it, though it saw other clips
    assert call(monkeypatch, *command, "--arms", "s1") == 2
    assert "(split toy-0 → toy-1); restore the data" in capsys.readouterr().err


@pytest.mark.parametrize(("processes", "runs", "at_once", "threads"), [(1, 40, 16, 1), (4, 9, 4, 4), (8, 1, 1, 16)])
def test_runs_share_all_cores(
    monkeypatch: pytest.MonkeyPatch, processes: int, runs: int, at_once: int, threads: int
) -> None:
    """A run's threads are those of all its processes, which share them out among themselves."""
    seen = []

    class Pool:
        def __init__(self, concurrency: int, *_: object, **__: object) -> None:
            self.concurrency = concurrency

        def submit(self, _: object, spec: object, settings: RunSettings) -> Future[str]:
            seen.append((self.concurrency, settings.processes, settings.threads))
            done: Future[str] = Future()
            done.set_result("done")
            return done

        def shutdown(self, **_: object) -> None:
            pass

    monkeypatch.setattr(grid, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    run: Any = SimpleNamespace(spec=None)
    grid._run_all([run] * runs, GridOptions(store="none", processes=processes), "none", lambda _: None)
    assert seen == [(at_once, processes, threads)] * runs


def test_a_grid_with_the_same_configuration_twice_runs_it_once(tmp_path: Path) -> None:
    flags = script.parser().parse_args(["passes", "--seeds", "1"])
    runs: list[GridRun] = script.grid_of(flags).runs()
    options = GridOptions(store=str(tmp_path / "none"))
    assert len(plan_grid([*runs, *runs], options).left) == len(runs) == 6
    with pytest.raises(SefarError, match="there is no result store"):
        plan_grid(runs, GridOptions(store=str(tmp_path / "none"), resume=True))


@pytest.mark.slow
def test_a_real_study_trains_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One granularity against two levels, on real clips."""
    settings = {
        "scope.synthgym.size": 64,
        "scope.synthgym.train_clips_per_element": 6,
        "scope.synthgym.test_clips_per_element": 2,
        "optim.epochs": 2,
        "optim.steps_per_epoch": 1,
        "objective.warmup_epochs": 1,
        "loader.labelled": 2,
        "evaluation.views": 1,
    }
    command = ["ablation.py", "components", "--arms", "none", "--seeds", "1", "--scopes", "synthgym/set:BB_jumps@1pc"]
    command += ["--root", str(tmp_path / "data"), "--store", str(tmp_path / "s"), "--set"]
    command += [f"{key}={value}" for key, value in settings.items()]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        script.main()
    said = capsys.readouterr()
    assert stopped.value.code == 0, said.err
    store = ResultStore(str(tmp_path / "s"))
    trials = store.trials().set_index("role")
    assert trials.loc["components/none", "config.sampling.frames_per_granularity"] == "[8]"
    assert trials.test_student_top1.between(0, 100).all() and trials.test_teacher_top1.notna().all()
    assert set(store.predictions().groupby("trial_id").size()) == {8}
    assert "| none | one granularity of 8 frames, warp, constant weight | 1 | " in said.out
