"""How good a search's best trial was after how much of its budget."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from studies.results.leaderboard import search_rows
from studies.results.schema import DEFAULT, FINISHED, METRIC, RUNNING, SEARCH, TRANSFER

COLUMNS = ["scope", "order", "trial_id", "cost_seconds", "best_so_far", "regret"]
SEARCHED = (SEARCH, TRANSFER, DEFAULT)


def simple_regret(
    trials: pd.DataFrame, *, best: Mapping[str, float] | None = None, cost: str = "seconds"
) -> pd.DataFrame:
    """Best dev accuracy so far, and how far below the best known it is, after each trial of a search.

    Trials count in the order in which they ended. Pruned and failed ones cost time but cannot be the best, since only
    finished trials are chosen from. The supervised baseline is no part of the search, confirm trials neither. The dev
    accuracy that chooses flatters what it has chosen: regret compares searches, it is no estimate of test accuracy.

    Args:
        trials: rows of ``trials`` of one study.
        best: best known dev accuracy by scope, in percent; default: the best of these trials, so that the last regret
            of each scope is 0 by construction.
        cost: column summed up: ``seconds`` (of trials, not by the clock: they may have run at once) or
            ``accelerator_seconds``.

    Returns:
        ``scope``, ``order`` (1-based number of trials so far), ``trial_id``, ``cost_seconds`` (so far),
        ``best_so_far`` (percent; NaN before the first finished trial), ``regret`` (percent points, likewise).

    Raises:
        ValueError: trials of several studies, no such cost column, or a best known below what the trials reached.
    """
    if cost not in trials:
        raise ValueError(f"cost: expected seconds or accelerator_seconds, a column of the trials, got '{cost}'")
    if "study" in trials and trials.study.nunique() > 1:
        shown = ", ".join(sorted(trials.study.unique())[:3])
        raise ValueError(f"trials: expected one study, got {shown}; filter them")
    rows = search_rows(trials)
    rows = rows[rows.role.isin(SEARCHED) & (rows.status != RUNNING)]
    parts = []
    for scope, group in rows.assign(_end=_ends(rows)).groupby("scope", sort=True):
        ended = group.sort_values(["_end", "number"], kind="stable")
        reached = ended[METRIC].where(ended.status == FINISHED).cummax().ffill()
        known = float((best or {}).get(str(scope), reached.max()))
        if known < reached.max():
            raise ValueError(
                f"best: {scope}: {known:g} is below {reached.max():g}, which a trial reached; expected more"
            )
        parts.append(
            pd.DataFrame(
                {
                    "scope": scope,
                    "order": np.arange(1, len(ended) + 1),
                    "trial_id": ended.trial_id.to_numpy(),
                    "cost_seconds": ended[cost].fillna(0.0).cumsum().to_numpy(),
                    "best_so_far": reached.to_numpy(),
                    "regret": known - reached.to_numpy(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _ends(rows: pd.DataFrame) -> pd.Series:
    """When each trial ended, in seconds; its number where a start is not recorded."""
    if "started_at" not in rows or rows.started_at.isna().any():
        return rows.number.astype(float)
    start = pd.to_datetime(rows.started_at, utc=True, format="ISO8601")
    return (start - pd.Timestamp(0, tz="UTC")).dt.total_seconds() + rows.seconds.fillna(0.0)
