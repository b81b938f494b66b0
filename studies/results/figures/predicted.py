"""Predictions of one trial, made ready to draw: one row a clip with what was said, names and sets of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from studies.results.figures.style import NothingToDraw
from studies.results.schema import text_of


def predicted(predictions: pd.DataFrame, *, part: str = "test", network: str = "student") -> pd.DataFrame:
    """Rows of one trial with the network's first guess.

    Args:
        predictions: rows of ``predictions``.
        part: of the data.
        network: ``student`` or ``teacher``.

    Returns:
        The rows of that part, with ``said`` (class index) and ``right``.

    Raises:
        NothingToDraw: there are none.
        ValueError: the rows are of several trials.
    """
    rows = predictions[predictions.part == part]
    rows = rows[rows[f"{network}_top5"].map(_first).notna()] if len(rows) else rows
    if rows.empty:
        raise NothingToDraw(
            f"no predictions of the {network} on {part} clips: trials that are pruned, unfinished or run without test "
            "clips have none; choose a finished trial, or confirm one with --confirm"
        )
    if "trial_id" in rows and (trials := rows.trial_id.unique()).size > 1:
        raise ValueError(f"predictions: expected rows of one trial, got {trials.size}; filter by trial_id")
    said = rows[f"{network}_top5"].map(_first).astype(int)
    return rows.assign(said=said, right=said == rows.label).reset_index(drop=True)


def _first(top: Any) -> float | None:
    return float(top[0]) if isinstance(top, Sequence) or (hasattr(top, "__len__") and len(top)) else None


def class_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Name, set and clips of every class that is a label or was said, by class index.

    Args:
        rows: of `predicted`.

    Returns:
        Indexed by ``label``, with ``name`` (the number where older stores have none), ``set`` (empty) and ``clips``.
    """
    labels = sorted(set(rows.label) | set(rows.said))
    names, sets = (_by_label(rows, column) for column in ("label_name", "set"))
    clips = rows.label.value_counts()
    return pd.DataFrame(
        {
            "name": [names.get(k) or f"class {k}" for k in labels],
            "set": [sets.get(k, "") for k in labels],
            "clips": [int(clips.get(k, 0)) for k in labels],
        },
        index=pd.Index(labels, name="label"),
    )


def _by_label(rows: pd.DataFrame, column: str) -> dict[int, str]:
    if column not in rows:
        return {}
    return {int(k): text_of(v) for k, v in zip(rows.label, rows[column], strict=True)}
