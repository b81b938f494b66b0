"""The leaderboards of a study as text: of the search, and of what was confirmed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from studies.results.confirm import confirm_rows, confirmed, without_split
from studies.results.schema import (
    CONFIRM,
    DEFAULT,
    FAILED,
    FINISHED,
    METRIC,
    PRUNED,
    RUNNING,
    SUPERVISED,
    TRANSFER,
    text_of,
)

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
    if not parameters:
        return ""
    left = dict(parameters)

    def take(*signs: tuple[str, str]) -> str:
        found = [(sign, left.pop(key)) for key, sign in signs if key in left]
        return " ".join(f"{sign} {_short(value)}".strip() for sign, value in found)

    parts = [
        take(("perturb.kind", ""), ("perturb.strength", "")),
        take(
            ("weighting.kind", ""),
            ("weighting.threshold", "τ"),
            ("weighting.kappa", "κ"),
            ("weighting.alpha", "α"),
            ("teacher.passes", "S"),
        ),
        take(("objective.gamma_unlabelled", "γ₁"), ("objective.gamma_mix", "γ₂")),
        *(f"{key} {_short(value)}" for key, value in left.items()),
    ]
    return " · ".join(part for part in parts if part)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def search_rows(trials: pd.DataFrame) -> pd.DataFrame:
    """The rows of the search, without those that confirm it."""
    return trials[trials.stage != CONFIRM] if "stage" in trials else trials


def leaderboard(trials: pd.DataFrame, scope: str) -> str:
    """The leaderboard of one scope's search: a title, a line a trial, and a verdict.

    Columns of the test clips are left out where no trial was evaluated on them.

    Args:
        trials: rows of ``trials``.
        scope: which of them.
    """
    rows = ranked(search_rows(trials[trials.scope == scope]))
    shown = [("dev %", METRIC), ("teacher", "dev_teacher_top1")]
    if rows.test_student_top1.notna().any():
        shown += [("test %", "test_student_top1"), ("teacher", "test_teacher_top1")]
    lines = [["", "trial", *(title for title, _ in shown), "epochs", "seconds", "configuration"]]
    for rank, row in enumerate(rows.to_dict("records"), 1):
        lines.append(
            [
                str(rank) if row["status"] == FINISHED else "–",
                f"{int(row['number']):03d}",
                *(_percent(row[column]) for _, column in shown),
                f"{int(row['epochs_done'])}/{int(row['epochs_planned'])}",
                f"{row['seconds']:.0f}" if row["seconds"] == row["seconds"] else "",
                _said(row),
            ]
        )
    return "\n".join([scope, *_aligned(lines), verdict(rows), *_log_line(rows)])


def _said(row: dict[Any, Any]) -> str:
    """What a trial is, beside its numbers."""
    said = describe_parameters(json.loads(row["parameters"])) if row["role"] != SUPERVISED else ""
    if row["role"] in MARKS:
        said = f"← {MARKS[row['role']]}" + (f": {said}" if said else "")
    if row["role"] == TRANSFER:
        said = f"{said} (from a cheaper scope)"
    if row["status"] == FAILED:
        return _failure(row)
    return said if row["status"] == FINISHED else f"({row['status']}) {said}"


def _failure(row: dict[Any, Any]) -> str:
    """Why a trial failed, and where its log lies."""
    log = text_of(row.get("log"))
    return f"failed: {row['error']}" + (f"; log: {log}" if log else "")


def _log_line(rows: pd.DataFrame) -> list[str]:
    """Where the best trial's log lies, if it has one."""
    finished = rows[rows.status == FINISHED]
    path = text_of(finished.iloc[0].get("log")) if len(finished) else ""
    return [f"log of trial {int(finished.iloc[0].number):03d}, beside those of the others: {path}"] if path else []


def _aligned(lines: list[list[str]]) -> list[str]:
    """Cells under each other, flush right, the last one flush left."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
    return ["  ".join([*(c.rjust(w) for c, w in zip(line, widths, strict=False)), line[-1]]).rstrip() for line in lines]


def confirm_table(trials: pd.DataFrame, scope: str) -> str:
    """What was confirmed for a scope: a title, a line a configuration and, of the best, a sentence; else empty.

    Args:
        trials: rows of ``trials``, of both stages.
        scope: label scope; its split seed does not matter.
    """
    table = confirmed(trials, scope)
    if table.empty:
        return ""
    numbers = dict(zip(trials.trial_id, trials.number, strict=True))
    shown = {"dev %": "dev", "test %": "test", "teacher": "teacher", "dev − default": "dev_gain"}
    shown |= {"test − default": "test_gain"}
    lines = [["trial", "n", *shown, "configuration"]]
    for row in table.to_dict("records"):
        lines.append(
            [
                f"{int(numbers[row['confirms']]):03d}" if row["confirms"] in numbers else "–",
                str(row["n"]) if row["n"] == row["trials"] else f"{row['n']}/{row['trials']}",
                *(_spread(row, part, signed="gain" in part) for part in shown.values()),
                _said(row | {"status": FINISHED}),
            ]
        )
    title = f"{without_split(scope)}, confirmed over training seeds and label splits (mean ± standard deviation of n)"
    failed = confirm_rows(trials, scope).query("status == @FAILED")
    reasons = [f"{row['trial_id']} {_failure(row)}" for row in failed.to_dict("records")]
    return "\n".join([title, *_aligned(lines), *reasons, *_confirm_verdict(table.iloc[0].to_dict(), lines[1][0])])


def _confirm_verdict(best: dict[Any, Any], trial: str) -> list[str]:
    """How the configuration that is best on dev stands to the default on the test clips."""
    if not best["n"]:
        return []
    if best["role"] in MARKS:
        return [f"best on dev: the {MARKS[best['role']]}"]
    if not (pairs := best["test_pairs"]):
        return [f"best on dev: trial {trial}"]
    gain = f"{_spread(best, 'test_gain', signed=True)} points against the paper's default"
    return [f"best on dev: trial {trial}; on test {gain}, in {pairs} pair{'s'[: pairs - 1]}"]


def _spread(row: dict[Any, Any], part: str, *, signed: bool) -> str:
    """``61.2 ± 1.0``; without the deviation of a single trial; nothing for the default's difference to itself."""
    mean, std = row[f"{part}_mean"], row[f"{part}_std"]
    if mean != mean or (signed and row["role"] == DEFAULT):
        return ""
    return (f"{mean:+.1f}" if signed else f"{mean:.1f}") + ("" if std != std else f" ± {std:.1f}")


def verdict(rows: pd.DataFrame) -> str:
    """The best trial beside the named configurations, in one sentence."""
    finished = rows[rows.status == FINISHED]
    if finished.empty:
        return "no trial has finished"
    best = finished.iloc[0]

    def told(row: pd.Series) -> str:
        if row.test_student_top1 != row.test_student_top1:
            return f"dev {_percent(row[METRIC])} %"
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
    """Print the leaderboards of the search, then what was confirmed."""
    for scope in scopes:
        if (search_rows(trials).scope == scope).any():
            say("\n" + leaderboard(trials, scope))
    for scope in {without_split(scope): scope for scope in scopes}.values():
        if "stage" in trials and (table := confirm_table(trials, scope)):
            say("\n" + table)
