"""Leaderboard, verdict, picture."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from studies.results.figures import learning_curves
from studies.results.report import clock, describe_parameters, failures, leaderboard, ranked, short_scope

SCOPE = "synthgym/event:FX@1pc#0"


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
        "error": "clips/a.mp4: does not decode" if status == "failed" else None,
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


def test_the_picture_leaves_the_callers_backend_alone():
    code = "import studies.results.figures, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
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
    pixels = image.imread(path)
    assert pixels.shape[1] > 1.6 * pixels.shape[0] and pixels[..., :3].std() > 0.05
