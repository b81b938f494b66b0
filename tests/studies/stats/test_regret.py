"""Simple regret."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from studies.results.stats.regret import simple_regret


def trial(number: int, dev: float, status: str = "finished", **more: object) -> dict[str, object]:
    return {
        "trial_id": f"t{number}",
        "scope": "s@1pc#0",
        "number": number,
        "role": "search",
        "stage": "search",
        "status": status,
        "dev_student_top1": dev,
        "seconds": 10.0,
        "accelerator_seconds": 5.0,
    } | more


TRIALS = pd.DataFrame(
    [
        trial(0, 60, role="default"),
        trial(1, 95, role="supervised"),
        trial(2, 99, "pruned", seconds=3.0),
        trial(3, 70),
        trial(4, 65),
        trial(5, math.nan, "failed", seconds=math.nan),
        trial(6, 99, "running"),
        trial(7, 99, stage="confirm"),
    ]
)


def test_by_hand() -> None:
    found = simple_regret(TRIALS)
    assert found.trial_id.tolist() == ["t0", "t2", "t3", "t4", "t5"]
    assert found.order.tolist() == [1, 2, 3, 4, 5]
    assert found.cost_seconds.tolist() == [10, 13, 23, 33, 33]
    assert found.best_so_far.tolist() == [60, 60, 70, 70, 70]
    assert found.regret.tolist() == [10, 10, 0, 0, 0]


def test_a_better_best_known_and_another_cost() -> None:
    found = simple_regret(TRIALS, best={"s@1pc#0": 75}, cost="accelerator_seconds")
    assert found.regret.tolist() == [15, 15, 5, 5, 5] and found.cost_seconds.iloc[-1] == 25
    with pytest.raises(ValueError, match="s@1pc#0: 65 is below 70, which a trial reached"):
        simple_regret(TRIALS, best={"s@1pc#0": 65})
    with pytest.raises(
        ValueError, match="expected seconds or accelerator_seconds, a column of the trials, got 'euros'"
    ):
        simple_regret(TRIALS, cost="euros")


def test_trials_count_in_the_order_in_which_they_ended() -> None:
    starts = {"started_at": ["2025-01-01T00:00:00+00:00", "2025-01-01T00:00:01+00:00"]}
    found = simple_regret(pd.DataFrame([trial(0, 60, seconds=50.0), trial(1, 50)]).assign(**starts))
    assert found.trial_id.tolist() == ["t1", "t0"] and found.best_so_far.tolist() == [50, 60]


def test_nothing_finished_and_nothing_at_all() -> None:
    found = simple_regret(TRIALS[TRIALS.status == "pruned"])
    assert found.best_so_far.isna().all() and found.regret.isna().all() and found.cost_seconds.tolist() == [3]
    empty = simple_regret(TRIALS.iloc[:0])
    assert empty.empty and "regret" in empty


def test_scopes_apart() -> None:
    other = TRIALS.assign(scope="s@5pc#0", dev_student_top1=TRIALS.dev_student_top1 / 2)
    found = simple_regret(pd.concat([TRIALS, other]))
    assert found.groupby("scope").best_so_far.max().to_dict() == {"s@1pc#0": 70, "s@5pc#0": 35}
    assert found.groupby("scope").order.max().tolist() == [5, 5]


def test_trials_of_two_studies_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one study, got s, t; filter them"):
        simple_regret(pd.concat([TRIALS.assign(study="s"), TRIALS.assign(study="t")]))
