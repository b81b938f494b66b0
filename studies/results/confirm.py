"""What the confirm stage has found: each configuration over training seeds and label splits."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd

from sefar.data.scope_name import LISTS
from studies.results.schema import CONFIRM, DEFAULT, FINISHED, METRIC

KEYS = ["scope", "train_seed"]  # trials of two configurations that agree in these are a pair
SHOWN = {"dev": METRIC, "test": "test_student_top1", "teacher": "test_teacher_top1"}


def without_split(scope: str) -> str:
    """A label scope without its split seed: ``synthgym/core@1pc#2`` → ``synthgym/core@1pc``."""
    return scope if scope.startswith(f"{LISTS}:") else re.sub(r"#[0-9]+\Z", "", scope)


def confirm_rows(trials: pd.DataFrame, scope: str) -> pd.DataFrame:
    """The rows of the confirm stage for a scope, over all label splits."""
    return trials[(trials.stage == CONFIRM) & (trials.scope.map(without_split) == without_split(scope))]


def confirmed(trials: pd.DataFrame, scope: str) -> pd.DataFrame:
    """One row a configuration that was confirmed for a scope, the best on dev first.

    Args:
        trials: rows of ``trials``, of both stages.
        scope: of the search; its split seed does not matter.

    Returns:
        ``role``, ``confirms``, ``parameters``, ``trials`` (begun) and ``n`` (finished); of ``dev``, ``test`` and
        ``teacher`` (on test) the accuracy in percent, ``…_mean`` and ``…_std`` over finished trials; of ``dev`` and
        ``test`` the difference to the default with the same training seed on the same label split, ``…_gain_mean`` and
        ``…_gain_std`` over ``…_pairs``. Standard deviations are a sample's (n - 1); NaN where there are too few trials.
    """
    rows = confirm_rows(trials, scope)
    rows = rows.assign(confirms=rows.confirms.fillna(""))
    default = rows[(rows.role == DEFAULT) & (rows.status == FINISHED)].set_index(KEYS)
    table = [_summary(group, default) for _, group in rows.groupby(["role", "confirms", "parameters"])]
    columns = list(_summary(rows, default))
    return pd.DataFrame(table, columns=columns).sort_values("dev_mean", ascending=False, ignore_index=True)


def _summary(rows: pd.DataFrame, default: pd.DataFrame) -> dict[str, Any]:
    """A configuration's trials in one row."""
    finished = rows[rows.status == FINISHED].set_index(KEYS)
    first = rows.iloc[0] if len(rows) else pd.Series(dtype=object)
    summary = {name: first.get(name) for name in ("role", "confirms", "parameters")}
    summary |= {"trials": len(rows), "n": len(finished)}
    for part, column in SHOWN.items():
        summary |= _moments(part, finished[column])
    for part in ("dev", "test"):
        difference = (finished[SHOWN[part]] - default[SHOWN[part]]).dropna()
        summary |= {f"{part}_pairs": len(difference), **_moments(f"{part}_gain", difference)}
    return summary


def _moments(name: str, values: pd.Series) -> dict[str, float]:
    known = values.dropna().astype(float)
    return {
        f"{name}_mean": known.mean() if len(known) else math.nan,
        f"{name}_std": known.std(ddof=1) if len(known) > 1 else math.nan,
    }
