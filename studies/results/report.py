"""The leaderboard of a study as text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from studies.results.schema import DEFAULT, FAILED, FINISHED, METRIC, PRUNED, RUNNING, SUPERVISED

MARKS = {DEFAULT: "paper's default", SUPERVISED: "supervised baseline"}
ORDER = {FINISHED: 0, RUNNING: 1, PRUNED: 2, FAILED: 3}


def short_scope(scope: str) -> str:
    """A label scope without what goes without saying: ``synthgym/event:FX@1pc#0`` → ``event:FX@1pc``."""
    return scope.removeprefix("synthgym/").removesuffix("#0")


def clock(seconds: float) -> str:
    """``75`` → ``1:15``."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def ranked(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials of one scope, best first: finished before running before pruned before failed, then by the dev metric."""
    order = trials.assign(_status=trials.status.map(ORDER), _value=-trials[METRIC].fillna(-math.inf))
    return order.sort_values(["_status", "_value", "number"], kind="stable").drop(columns=["_status", "_value"])


def describe_parameters(parameters: dict[str, Any]) -> str:
    """What the search chose, in short: ``drop 0.5 · fixed τ 0.8 · γ₁ 1.2 γ₂ 2``."""
    get = parameters.get
    if not parameters:
        return ""
    perturb = f"{get('perturb.kind', '')}" + (
        f" {get('perturb.strength'):g}" if "perturb.strength" in parameters else ""
    )
    signs = {"threshold": "τ", "kappa": "κ", "alpha": "α"}
    weighting = " ".join(
        [str(get("weighting.kind", ""))]
        + [f"{sign} {get(f'weighting.{key}'):.3g}" for key, sign in signs.items() if f"weighting.{key}" in parameters]
    )
    gammas = " ".join(
        f"{sign} {get(key):.3g}"
        for key, sign in (("objective.gamma_unlabelled", "γ₁"), ("objective.gamma_mix", "γ₂"))
        if key in parameters
    )
    return " · ".join(part for part in (perturb, weighting, gammas) if part.strip())


def leaderboard(trials: pd.DataFrame, scope: str) -> str:
    """The leaderboard of one scope: a title, a line a trial, and a verdict.

    Args:
        trials: rows of ``trials``.
        scope: which of them.
    """
    rows = ranked(trials[trials.scope == scope])
    head = ["", "trial", "dev %", "teacher", "test %", "teacher", "epochs", "seconds", "configuration"]
    lines = [head]
    for rank, row in enumerate(rows.to_dict("records"), 1):
        said = describe_parameters(json.loads(row["parameters"])) if row["role"] != SUPERVISED else ""
        if row["role"] in MARKS:
            said = f"← {MARKS[row['role']]}" + (f": {said}" if said else "")
        if row["status"] == FAILED:
            said = f"failed: {row['error']}"
        elif row["status"] != FINISHED:
            said = f"({row['status']}) {said}"
        lines.append(
            [
                str(rank) if row["status"] == FINISHED else "–",
                f"{int(row['number']):03d}",
                *(_percent(row[c]) for c in (METRIC, "dev_teacher_top1", "test_student_top1", "test_teacher_top1")),
                f"{int(row['epochs_done'])}/{int(row['epochs_planned'])}",
                f"{row['seconds']:.0f}" if row["seconds"] == row["seconds"] else "",
                said,
            ]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head) - 1)]
    body = ["  ".join([*(c.rjust(w) for c, w in zip(line, widths, strict=False)), line[-1]]).rstrip() for line in lines]
    return "\n".join([scope, *body, verdict(rows)])


def verdict(rows: pd.DataFrame) -> str:
    """The best trial beside the named configurations, in one sentence."""
    finished = rows[rows.status == FINISHED]
    if finished.empty:
        return "no trial has finished"
    best = finished.iloc[0]

    def told(row: pd.Series) -> str:
        return f"test {_percent(row.test_student_top1)} % (dev {_percent(row[METRIC])} %)"

    parts = [f"best on dev: trial {int(best.number):03d} with {told(best)}"]
    for role, mark in MARKS.items():
        named = finished[finished.role == role]
        if len(named) and named.iloc[0].trial_id != best.trial_id:
            parts.append(f"{mark} {told(named.iloc[0])}")
    return "; ".join(parts)


def _percent(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.1f}"


def failures(trials: pd.DataFrame) -> str | None:
    """Why the study must count as failed, in one line, or None: every trial or a named configuration has failed."""
    failed = trials[trials.status == FAILED]
    if len(trials) and len(failed) == len(trials):
        return f"all {len(trials)} trials failed, the first with: {failed.iloc[0].error}"
    named = failed[failed.role.isin(list(MARKS))]
    if len(named):
        row = named.iloc[0]
        return f"the {MARKS[row['role']]} of scope '{row['scope']}' failed: {row['error']}"
    return None


def print_report(trials: pd.DataFrame, scopes: list[str], say: Callable[[str], None]) -> None:
    """Print the leaderboards."""
    for scope in scopes:
        if (trials.scope == scope).any():
            say("\n" + leaderboard(trials, scope))
