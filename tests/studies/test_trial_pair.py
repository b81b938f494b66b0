"""Which two trials are looked at."""

from __future__ import annotations

import pandas as pd
import pytest

from sefar.errors import ConfigError
from studies.results.trial_pair import pair_of_trials


def row(trial_id: str, role: str, seed: int, dev: float, scope: str = "synthgym/core@1pc#0", study: str = "s") -> dict:
    return {
        "study": study,
        "scope": scope,
        "trial_id": trial_id,
        "number": 0,
        "role": role,
        "train_seed": seed,
        "dev_student_top1": dev,
        "test_student_top1": 50.0,
        "parameters": "{}",
        "confirms": None,
    }


def ids(rows: list[dict], *names: str) -> tuple[str, str] | None:
    pair = pair_of_trials(pd.DataFrame(rows), *names)
    return None if pair is None else (pair[0].trial_id, pair[1].trial_id)


ROWS = [
    row("d0", "default", 0, 60.0),
    row("d1", "default", 1, 70.0),
    row("u1", "supervised", 1, 40.0),
    row("u2", "supervised", 2, 99.0),
    row("f1", "fixmatch τ=0.5 @1pc", 1, 90.0),
]


def test_sefar_and_the_baseline_of_one_seed() -> None:
    assert ids(ROWS) == ("d1", "u1")


def test_without_a_common_seed_the_best_of_either_on_one_split() -> None:
    assert ids([ROWS[0], ROWS[3], row("u9", "supervised", 9, 1.0)]) == ("d0", "u2")
    assert ids([ROWS[0], row("u0", "supervised", 0, 1.0, "synthgym/core@1pc#1")]) is None


def test_the_scope_with_most_such_pairs_comes_first() -> None:
    other = "synthgym/core@3pc"
    more = [row(f"{r}{s}", r, s, 10.0 + s, f"{other}#{s}") for s in range(2) for r in ("default", "supervised")]
    assert ids(ROWS + more) == ("default1", "supervised1")


def test_trials_by_name() -> None:
    assert ids(ROWS, "f1") == ("f1", "u1")
    assert ids(ROWS, "", "d0") == ("d1", "d0")
    assert ids(ROWS, "f1", "d0") == ("f1", "d0")
    with pytest.raises(ConfigError, match="trial 'f2': no such trial that was evaluated on test clips — did you mean"):
        ids(ROWS, "f2")
    far = [*ROWS, row("x", "default", 0, 1.0, study="t")]
    with pytest.raises(ConfigError, match="'d0' and 'x' are of different studies or label scopes"):
        ids(far, "d0", "x")


def test_nothing_to_compare() -> None:
    assert ids(ROWS[:2]) is None and pair_of_trials(pd.DataFrame(ROWS).iloc[:0]) is None
