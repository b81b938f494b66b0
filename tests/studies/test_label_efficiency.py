"""The label-efficiency study from the command line: which runs it has, what it keeps, writes and refuses."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

from sefar.errors import ConfigError
from studies import label_efficiency as script
from studies.engine.grid import GridOptions, GridRun
from studies.results.store import ResultStore

TOY = "tests.studies.toy:ToyWorkload"
# the toy's supervised runs reach 40 %, the others 60 + 10 strength − γ₂ = 69 %, FixMatch 70 %
SHORT = [
    "--set",
    "optim.epochs=2",
    "objective.warmup_epochs=0",
    "objective.gamma_mix=1",
    "--full-set",
    "optim.epochs=2",
]


def runs(*flags: str) -> list[GridRun]:
    parsed = script.parser().parse_args(list(flags))
    script.check(parsed)
    return script.grid(parsed)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["label_efficiency.py", *map(str, arguments)])
    monkeypatch.setattr(script, "GridOptions", functools.partial(GridOptions, workload=TOY))
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_without_flags_the_runs_of_the_documented_table() -> None:
    found = runs()
    assert [(run.role, run.seed) for run in found[:9]] == [
        ("sefar @1pc", 0),
        ("supervised @1pc", 0),
        ("fixmatch τ=0.5 @1pc", 0),
        ("fixmatch τ=0.8 @1pc", 0),
        ("fixmatch τ=0.95 @1pc", 0),
        ("fixmatch_single τ=0.5 @1pc", 0),
        ("fixmatch_single τ=0.8 @1pc", 0),
        ("fixmatch_single τ=0.95 @1pc", 0),
        ("supervised @all", 0),
    ]
    assert len(found) == 27 and [run.seed for run in found[18:]] == [2] * 9
    assert [run.config.sampling.frames_per_granularity for run in found[4:6]] == [(2, 2, 4), (8,)]
    assert {run.config.scope.name for run in found if run.seed == 2} == {"synthgym/core@1pc#2", "synthgym/core@1#2"}
    # names of runs that stores hold already: these are not to be run again
    assert found[0].trial_id == "core-1pc-0-4442.dfafe716f25e"
    assert found[8].trial_id == "core-1-0-ecc0.fb0c2dcf3e75"


def test_fractions_times_methods_times_seeds() -> None:
    found = runs("--labels", "1pc", "0.05", "--seeds", "2", "--thresholds", "0.7", "--subset", "finegym/gym99")
    assert [run.role for run in found[:9]] == [
        *("sefar @1pc", "supervised @1pc", "fixmatch τ=0.7 @1pc", "fixmatch_single τ=0.7 @1pc"),
        *("sefar @0.05", "supervised @0.05", "fixmatch τ=0.7 @0.05", "fixmatch_single τ=0.7 @0.05"),
        "supervised @all",
    ]
    assert len(found) == 18 and len({run.trial_id for run in found}) == 18
    assert found[4].config.scope.name == "finegym/gym99@0.05#0"
    assert found[2].config.weighting.threshold == found[3].config.weighting.threshold == 0.7
    whole = found[8].config
    assert whole.scope.name == "finegym/gym99@1#0" and whole.optim.epochs == 26 and whole.loader.labelled == 32


@pytest.mark.parametrize("flag", ["--methods", "--only"])
def test_some_methods_alone(flag: str) -> None:
    found = runs(flag, "fixmatch", "sefar", "--seeds", "1", "--thresholds", "0.5")
    assert [run.role for run in found] == ["sefar @1pc", "fixmatch τ=0.5 @1pc"]  # all labels go with supervised


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--methods", "sefr"], "--methods/--only: 'sefr' is unknown — did you mean 'sefar'?"),
        (["--labels", "1pc", "1pc"], "--labels: expected shares (0.05) or clips a class (3pc), each once, got '1pc'"),
        (["--labels", "1pc#2"], "--labels: expected shares (0.05) or clips a class (3pc), each once, got '1pc#2'"),
        (["--labels", "1"], "--labels: expected shares (0.05) or clips a class (3pc), each once, got '1'"),
        (["--set", "seed=3"], "--set seed: the study sets it; use --subset, --labels, --root or --seeds"),
        (["--seeds", "0"], "--seeds: expected an integer ≥ 1, got '0'"),
        (["--lables", "1pc"], "--lables: unknown flag — did you mean '--labels'?"),
    ],
)
def test_wrong_flags_are_one_line(
    flags: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *flags) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_on_a_network_of_one_granularity_fixmatch_is_asked_for_once() -> None:
    one = ["--set", "sampling.frames_per_granularity=(8,)", "--seeds", "1"]
    with pytest.raises(ConfigError, match="are the same; choose one with --methods"):
        runs(*one)
    found = runs(*one, "--methods", "sefar", "fixmatch")
    assert len({run.trial_id for run in found}) == len(found) == 4


@pytest.mark.slow
def test_end_to_end_and_not_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, table = tmp_path / "store", tmp_path / "table.md"
    command = ["--store", store, "--labels", "1pc", "3pc", "--seeds", 2, "--thresholds", 0.5, "--table", table, *SHORT]
    assert call(monkeypatch, *command) == 0
    said = capsys.readouterr().out
    assert "18 runs, 18 to run" in said and table.read_text() in said
    assert "| SeFAR | 69.0 | 69.0 | – |" in table.read_text()
    assert "| single-level FixMatch | " in table.read_text() and "| FixMatch | " in table.read_text()
    assert "| SeFAR − supervised | +29.0 | +29.0 | – |" in table.read_text()
    assert "python studies/label_efficiency.py --store" in table.read_text()
    assert set(ResultStore(str(store)).trials().status) == {"finished"}

    written = {path: path.stat().st_mtime_ns for path in store.rglob("*.parquet")}
    assert call(monkeypatch, *command) == 0
    assert "18 runs, 0 to run" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.parquet")} == written
