"""Leaderboard, verdict, picture."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from studies.results.confirm import confirmed, without_split
from studies.results.figures.learning_curves import learning_curves
from studies.results.leaderboard import (
    clock,
    confirm_table,
    describe_parameters,
    failures,
    leaderboard,
    print_report,
    ranked,
    short_scope,
)

SCOPE = "synthgym/event:FX@1pc#0"
DECODE = "clips/a.mp4: does not decode"


def row(number: int, role: str, status: str, dev: float, done: int = 4, **more: object) -> dict:
    return {
        "trial_id": f"t{number}",
        "study": "s",
        "scope": SCOPE,
        "number": number,
        "role": role,
        "status": status,
        "dev_student_top1": dev,
        "dev_teacher_top1": np.nan if role == "supervised" else dev + 1,
        "test_student_top1": dev - 2 if status == "finished" else np.nan,
        "test_teacher_top1": np.nan,
        "epochs_done": done,
        "epochs_planned": 4,
        "seconds": 12.4,
        "error": DECODE if status == "failed" else None,
        "parameters": json.dumps({"perturb.kind": "drop", "perturb.strength": 0.5, "weighting.kind": "fixed"}),
    } | more


TRIALS = pd.DataFrame(
    [
        row(0, "default", "finished", 60.0),
        row(1, "supervised", "finished", 40.0),
        row(2, "search", "pruned", 90.0, 2),
        row(3, "search", "finished", 70.0),
        row(4, "search", "failed", np.nan, 0),
    ]
)


def test_finished_trials_rank_before_pruned_ones_however_good_those_were():
    assert ranked(TRIALS).number.tolist() == [3, 0, 1, 2, 4]


def test_the_leaderboard_marks_baselines_and_says_who_won():
    lines = leaderboard(TRIALS, SCOPE).splitlines()
    assert lines[0] == SCOPE and lines[2].split()[:4] == ["1", "003", "70.0", "71.0"]
    assert "← paper's default: drop 0.5" in lines[3] and lines[4].endswith("← supervised baseline")
    assert "(pruned)" in lines[5] and lines[5].lstrip().startswith("–")
    assert lines[6].endswith("failed: clips/a.mp4: does not decode")
    assert lines[7] == (
        "best on dev: trial 003 with test 68.0 % (dev 70.0 %); paper's default test 58.0 % (dev 60.0 %); "
        "supervised baseline test 38.0 % (dev 40.0 %)"
    )


def test_without_test_results_their_columns_are_left_out():
    lines = leaderboard(TRIALS.assign(test_student_top1=np.nan), SCOPE).splitlines()
    assert lines[1].split() == ["trial", "dev", "%", "teacher", "epochs", "seconds", "configuration"]
    assert lines[2].split()[:6] == ["1", "003", "70.0", "71.0", "4/4", "12"]
    assert lines[7] == (
        "best on dev: trial 003 with dev 70.0 %; paper's default dev 60.0 %; supervised baseline dev 40.0 %"
    )


def test_logs_of_failed_trials_and_of_the_best_one_are_named():
    logged = TRIALS.assign(log=[f"/runs/store.work/logs/s/t{n}.log" for n in range(5)])
    lines = leaderboard(logged, SCOPE).splitlines()
    assert lines[6].endswith("failed: clips/a.mp4: does not decode; log: /runs/store.work/logs/s/t4.log")
    assert lines[8:] == ["log of trial 003, beside those of the others: /runs/store.work/logs/s/t3.log"]
    assert leaderboard(TRIALS.assign(log=None), SCOPE) == leaderboard(TRIALS, SCOPE)


def test_what_was_taken_over_says_so():
    lines = leaderboard(TRIALS.assign(role=["default", "supervised", "search", "transfer", "search"]), SCOPE)
    assert "drop 0.5 · fixed (from a cheaper scope)" in lines.splitlines()[2]


FRESH = "synthgym/event:FX@1pc#1"


def confirm_row(role: str, seed: int, dev: float, *, confirms: str = "", scope: str = FRESH, **more: object) -> dict:
    fields = {
        "stage": "confirm",
        "confirms": confirms,
        "train_seed": seed,
        "scope": scope,
        "test_teacher_top1": dev + 3,
    }
    number = 10_000 + seed
    return row(number, role, "finished", dev) | fields | {"trial_id": f"{role}{confirms}{seed}{scope}"} | more


CONFIRM = [
    confirm_row("default", 1, 60.0),
    confirm_row("default", 2, 64.0),
    confirm_row("default", 2, 10.0, scope=FRESH[:-1] + "2"),
    confirm_row("search", 1, 61.0, confirms="t3"),
    confirm_row("search", 2, 67.0, confirms="t3"),
    confirm_row("search", 3, 70.0, confirms="t3"),  # no finished default with this seed: no pair
    confirm_row("default", 3, 99.0, status="running"),
    confirm_row("search", 3, np.nan, confirms="t2", status="failed", error=DECODE, log="/runs/x.log"),
    confirm_row("supervised", 1, 40.0, test_teacher_top1=np.nan),
    confirm_row("default", 1, 99.0, scope="synthgym/event:UB@1pc#1"),
]
BOTH = pd.concat([TRIALS.assign(stage="search"), pd.DataFrame(CONFIRM)], ignore_index=True)


def test_confirmed_pairs_by_seed_and_split():
    table = confirmed(BOTH, SCOPE)
    assert table.role.tolist() == ["search", "default", "supervised", "search"]
    assert table.confirms.tolist() == ["t3", "", "", "t2"]
    assert table.n.tolist() == [3, 3, 1, 0] and table.trials.tolist() == [3, 4, 1, 1]
    best, default, baseline, failed = table.to_dict("records")
    assert best["dev_mean"] == 66.0 and best["dev_std"] == pytest.approx(21**0.5)  # 61, 67, 70
    assert best["test_mean"] == 64.0 and best["teacher_mean"] == 69.0
    assert (best["dev_pairs"], best["dev_gain_mean"], best["dev_gain_std"]) == (2, 2.0, pytest.approx(2**0.5))  # 1, 3
    assert default["dev_mean"] == pytest.approx(134 / 3) and default["dev_gain_mean"] == 0
    assert baseline["dev_gain_mean"] == -20 and np.isnan(baseline["dev_gain_std"]) and np.isnan(baseline["dev_std"])
    assert np.isnan(failed["dev_mean"]) and failed["dev_pairs"] == 0
    assert confirmed(BOTH, "lists:/x").empty


def test_the_confirm_table_stands_apart_from_the_leaderboard():
    assert leaderboard(BOTH, SCOPE) == leaderboard(TRIALS, SCOPE)
    lines = confirm_table(BOTH, SCOPE).splitlines()
    assert lines[0] == (
        "synthgym/event:FX@1pc, confirmed over training seeds and label splits (mean ± standard deviation of n)"
    )
    assert lines[1].split("  ")[-1] == "configuration" and "test − default" in lines[1]
    assert [" ".join(line.split()) for line in lines[2:]] == [
        "003 3 66.0 ± 4.6 64.0 ± 4.6 69.0 ± 4.6 +2.0 ± 1.4 +2.0 ± 1.4 drop 0.5 · fixed",
        "– 3/4 44.7 ± 30.1 42.7 ± 30.1 47.7 ± 30.1 ← paper's default: drop 0.5 · fixed",
        "– 1 40.0 38.0 -20.0 -20.0 ← supervised baseline",
        "002 0/1 drop 0.5 · fixed",
        f"searcht23{FRESH} failed: clips/a.mp4: does not decode; log: /runs/x.log",
        "best on dev: trial 003; on test +2.0 ± 1.4 points against the paper's default, in 2 pairs",
    ]
    unpaired = BOTH[(BOTH.role != "default") | (BOTH.stage != "confirm")]
    assert confirm_table(unpaired, SCOPE).splitlines()[-1] == "best on dev: trial 003"
    named = BOTH[(BOTH.confirms != "t3")]
    assert confirm_table(named, SCOPE).splitlines()[-1] == "best on dev: the paper's default"
    assert confirm_table(named[named.status != "finished"], SCOPE).splitlines()[-1].endswith("log: /runs/x.log")
    assert confirm_table(BOTH, "lists:/x") == ""


def test_the_report_has_the_search_then_what_was_confirmed():
    said: list[str] = []
    print_report(BOTH, [SCOPE, SCOPE[:-1] + "7"], said.append)
    assert said == ["\n" + leaderboard(TRIALS, SCOPE), "\n" + confirm_table(BOTH, SCOPE)]
    print_report(TRIALS, [SCOPE], said.append)
    assert said[2:] == said[:1]


def test_split_seeds_of_scopes():
    assert without_split(SCOPE) == "synthgym/event:FX@1pc" == without_split("synthgym/event:FX@1pc")
    assert without_split("lists:/a#1") == "lists:/a#1"


def test_failures_count_when_all_or_a_baseline_failed():
    assert failures(TRIALS) is None
    assert "supervised baseline of scope" in failures(TRIALS.assign(status=["finished", "failed", *["pruned"] * 3]))
    assert failures(TRIALS.assign(status="failed", error="x")) == "all 5 trials failed, the first with: x"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75, "1:15"), (3675, "1:01:15"), (-1, "0:00")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_short_forms():
    assert short_scope(SCOPE) == "event:FX@1pc" and short_scope("lists:/x") == "lists:/x"
    chosen = {
        "perturb.kind": "none",
        "weighting.kind": "adaptive",
        "weighting.kappa": 20.123,
        "weighting.alpha": 1.0,
        "objective.gamma_unlabelled": 2.0,
        "objective.gamma_mix": 0.5,
    }
    assert describe_parameters(chosen) == "none · adaptive κ 20.1 α 1 · γ₁ 2 γ₂ 0.5"
    assert describe_parameters({}) == ""
    chosen |= {"teacher.passes": 8, "optim.learning_rate": 1e-5, "mixing.partner": "per_clip", "perturb.strength": 0.25}
    assert describe_parameters(chosen) == (
        "none 0.25 · adaptive κ 20.1 α 1 S 8 · γ₁ 2 γ₂ 0.5 · optim.learning_rate 1e-05 · mixing.partner per_clip"
    )


def test_the_picture_leaves_the_callers_backend_alone():
    code = "import studies.results.figures.learning_curves, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_picture_has_a_panel_a_scope(tmp_path):
    other = TRIALS.assign(scope="lists:/x", trial_id=[f"u{i}" for i in range(5)])
    trials = pd.concat([TRIALS, other])
    epochs = pd.DataFrame(
        [
            {"scope": t.scope, "trial_id": t.trial_id, "epoch": e, "dev_student_top1": 10.0 * e}
            for t in trials.itertuples()
            for e in range(1, t.epochs_done + 1)
        ]
    )
    path = learning_curves(trials, epochs, [SCOPE, "lists:/x"], tmp_path / "new" / "picture.png")
    confirming = pd.DataFrame([confirm_row("default", 1, 60.0, scope=SCOPE)])
    with_confirm = pd.concat([trials.assign(stage="search"), confirming])
    more = pd.concat([epochs, epochs.iloc[:4].assign(trial_id=confirming.trial_id[0], dev_student_top1=99.0)])
    again = learning_curves(with_confirm, more, [SCOPE, "lists:/x"], tmp_path / "again.png")
    assert again.read_bytes() == path.read_bytes()
    only_confirmed = pd.concat([with_confirm, confirming.assign(scope="lists:/confirmed")])
    again = learning_curves(only_confirmed, more, [SCOPE, "lists:/confirmed", "lists:/x"], again)
    assert again.read_bytes() == path.read_bytes()
    with pytest.raises(ValueError, match="no search trial to draw"):
        learning_curves(confirming, more, [SCOPE], again)
    pixels = image.imread(path)
    assert pixels.shape[1] > 1.6 * pixels.shape[0] and pixels[..., :3].std() > 0.05
