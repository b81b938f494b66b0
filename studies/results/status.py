"""What a study does at this moment, as text, from the rows of its store alone."""

from __future__ import annotations

import datetime
import json
import math
import textwrap
from typing import Any

import pandas as pd

from sefar.errors import ConfigError, nearest
from studies.results.leaderboard import MARKS, clock, describe_parameters, short_scope
from studies.results.schema import CONFIRM, FAILED, FINISHED, METRIC, PRUNED, RUNNING, SUPERVISED
from studies.results.store import ResultStore

COLUMNS = (
    *("number", "role", "stage", "status", "error", "planned", "parameters", "epochs_planned", "epochs_done", METRIC),
    *("seconds", "accelerator_seconds", "started_at", "updated_at", "host", "workers", "log", "notes"),
)
QUIET_SECONDS = 300.0  # a running trial may be so long without a word, for instance while clips are decoded
QUIET_EPOCHS = 3.0  # or so many of its epochs
MOST_FAILED = 10  # kinds of failure told one by one


def store_status(store: ResultStore, study: str | None, now: datetime.datetime, width: int = 80) -> str:
    """The state of a store's studies, or of one.

    Args:
        store: to read.
        study: only this one.
        now: the time, with its zone.
        width: of the lines, characters.

    Raises:
        ConfigError: there is no such study.
        StoreError: the store cannot be read.
    """
    studies = sorted({file.study for file in store.files("trials")})
    if not studies:
        return f"{store.uri}: no trial has started yet"
    if study is not None and study not in studies:
        raise ConfigError(f"--study: the store has no '{study}'{nearest(study, studies)}")
    studies = studies if study is None else [study]
    return "\n\n".join(study_status(store.trials(study=s, columns=COLUMNS), s, now, width) for s in studies)


def study_status(trials: pd.DataFrame, study: str, now: datetime.datetime, width: int = 80) -> str:
    """The state of one study: a headline, what runs, a line a scope, what failed, where the logs lie.

    Args:
        trials: its rows of ``trials``; those of older versions may lack columns.
        study: its name.
        now: the time, with its zone.
        width: of the lines, characters.
    """
    trials = trials.reindex(columns=[*trials.columns, *(c for c in COLUMNS if c not in trials.columns)])
    rows: list[dict[str, Any]] = [
        {str(name): None if _missing(value) else value for name, value in row.items()}
        for row in trials.to_dict("records")
    ]
    parts = [_headline(rows, study, width), _running(rows, now, width), _scopes(rows, width), _failed(rows, width)]
    logs = {str(row["log"]).rpartition("/")[0] for row in rows if row["log"]}
    parts += [f"logs: {folder}/" for folder in sorted(logs)]
    return "\n\n".join(part for part in parts if part)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _headline(rows: list[dict[str, Any]], study: str, width: int) -> str:
    counts = {status: sum(row["status"] == status for row in rows) for status in (FINISHED, PRUNED, FAILED, RUNNING)}
    hours = sum(row["seconds"] or 0 for row in rows) / 3600
    accelerator_hours = sum(row["accelerator_seconds"] or 0 for row in rows) / 3600
    planned = sum(_planned(rows, scope) for scope in _scope_names(rows))
    confirms = sum(_is_confirm(row) for row in rows)
    started = f"{study}: {len(rows) - confirms} of {planned} trials started"
    started += f", and {confirms} to confirm" if confirms else ""
    states = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    cost = f"cost so far: {hours:.2f} trial hours, {accelerator_hours:.2f} accelerator hours"
    return "\n".join(_wrapped(text, width) for text in (started, states, cost))


def _running(rows: list[dict[str, Any]], now: datetime.datetime, width: int) -> str:
    lines = [["running", "epoch", "dev %", "heard of", "where"]]
    usual = _epoch_seconds(rows)
    for row in rows:
        if row["status"] != RUNNING:
            continue
        silent = _silence(row, now)
        heard = "" if silent is None else f"{clock(silent)} ago"
        where = str(row["host"] or "")
        if (row["workers"] or 1) > 1:
            where += f", {int(row['workers'])} workers"
        own = row["seconds"] / row["epochs_done"] if row["epochs_done"] and row["seconds"] else usual
        if silent is not None and silent > max(QUIET_SECONDS, QUIET_EPOCHS * (own or 0)):
            heard = f"{clock(silent)} ago, too long"
        name = f"{_number(row)} {short_scope(row['scope'])}" + (" confirm" if _is_confirm(row) else "")
        epoch = f"{int(row['epochs_done'] or 0)}/{int(row['epochs_planned'] or 0)}"
        lines.append([name, epoch, _percent(row[METRIC]), heard, where])
    if len(lines) == 1:
        return ""
    table = _table(lines, width, right=(1, 2, 3))
    if any("too long" in line[3] for line in lines):
        hint = "too long: the trial has stopped or hangs; if its run is gone, the same command again takes the trial up"
        table += "\n" + _wrapped(hint, width)
    return table


def _scopes(rows: list[dict[str, Any]], width: int) -> str:
    lines, best_of = [["scope", "ended", FINISHED, PRUNED, FAILED, "best dev %"]], [""]
    for scope in _scope_names(rows):
        for confirm in (False, True):
            some = [row for row in rows if row["scope"] == scope and _is_confirm(row) == confirm]
            if not some:
                continue
            planned = len(some) if confirm else _planned(rows, scope)
            count = {status: sum(row["status"] == status for row in some) for status in (FINISHED, PRUNED, FAILED)}
            finished = [row for row in some if row["status"] == FINISHED and row[METRIC] is not None]
            best = max(finished, key=lambda row: row[METRIC], default=None)
            name = short_scope(scope) + (" confirm" if confirm else "")
            counts = [f"{sum(count.values())}/{planned}", *map(str, count.values())]
            lines.append([name, *counts, "" if best is None else _percent(best[METRIC])])
            best_of.append("" if best is None else f"  best: {_number(best)} {_configuration(best)}".rstrip())
    table = _table(lines, width, right=(1, 2, 3, 4, 5)).split("\n")
    return "\n".join(
        text for row, best in zip(table, best_of, strict=True) for text in (row, _wrapped(best, width)) if text
    )


def _failed(rows: list[dict[str, Any]], width: int) -> str:
    """A paragraph for all trials of a scope that failed alike."""
    alike: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["status"] == FAILED:
            alike.setdefault((short_scope(row["scope"]), row["error"] or "no message"), []).append(row)
    lines = []
    for (scope, error), some in list(alike.items())[:MOST_FAILED]:
        lines.append(_wrapped(f"failed: {scope} {' '.join(map(_number, some))}: {error}", width))
        lines += [f"  log: {row['log']}" for row in some[:1] if row["log"]]
    left = sum(map(len, list(alike.values())[MOST_FAILED:]))
    return "\n".join([*lines, f"failed: {left} more"] if left else lines)


def _configuration(row: dict[str, Any]) -> str:
    said = describe_parameters(json.loads(row["parameters"] or "{}")) if row["role"] != SUPERVISED else ""
    mark = MARKS.get(row["role"], "" if row["role"] == "search" else str(row["role"] or ""))
    return f"{mark}: {said}" if mark and said else mark or said


def _scope_names(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["scope"] for row in rows))


def _is_confirm(row: dict[str, Any]) -> bool:
    return row["stage"] == CONFIRM


def _planned(rows: list[dict[str, Any]], scope: str) -> int:
    """Search trials of the scope in the end; a later run may have planned more than an earlier one."""
    some = [row for row in rows if row["scope"] == scope and not _is_confirm(row)]
    return max([len(some), *(int(row["planned"] or 0) for row in some)])


def _epoch_seconds(rows: list[dict[str, Any]]) -> float | None:
    """Wall time of an epoch over all trials; None as long as no epoch has finished."""
    done = [(row["seconds"], row["epochs_done"]) for row in rows if row["seconds"] and row["epochs_done"]]
    return sum(seconds for seconds, _ in done) / sum(epochs for _, epochs in done) if done else None


def _silence(row: dict[str, Any], now: datetime.datetime) -> float | None:
    """Seconds since the trial last wrote; None where its row does not say."""
    said = row["updated_at"] or row["started_at"]
    try:
        return max((now - datetime.datetime.fromisoformat(said)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def _number(row: dict[str, Any]) -> str:
    return f"{int(row['number'] or 0):03d}"


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _table(lines: list[list[str]], width: int, right: tuple[int, ...]) -> str:
    """Columns of equal width; what is too long for the line is cut."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    told = []
    for line in lines:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        text = "  ".join(cells).rstrip()
        told.append(text if len(text) <= width else text[: width - 1] + "…")
    return "\n".join(told)
