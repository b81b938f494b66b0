"""The clips themselves, for those who want to see what a trial gained and lost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sefar.data.decode import clip_frames, decode_frames
from sefar.errors import DecodeError
from studies.results.figures.predicted import class_table, predicted
from studies.results.schema import text_of

MOST = 4  # clips of either kind that are shown
FRAMES = 8
Strip = tuple[str, np.ndarray]


@dataclass(frozen=True)
class Strips:
    """Clips to be shown.

    Attributes:
        gained: caption and frames uint8 (T, H, W, 3) of clips that the first trial alone has right.
        lost: of those that the second alone has right.
        counts: how many were gained and lost in all.
        absent: clips that were to be shown, but are not on this machine or do not decode.
    """

    gained: list[Strip]
    lost: list[Strip]
    counts: tuple[int, int]
    absent: int


def strips_of(
    predictions: pd.DataFrame,
    base: pd.DataFrame,
    trial: pd.Series,
    root: str,
    *,
    part: str = "test",
    network: str = "student",
    most: int = MOST,
) -> Strips:
    """Frames of clips that one trial has right and another wrong, and the other way round.

    Clips are taken from different classes in turn, the surest of each first, so that a page shows no class alone.

    Args:
        predictions: rows of ``predictions`` of one trial.
        base: of the trial it is compared with, on the same clips.
        trial: row of ``trials`` of the first; says where its data lay.
        root: folder of the data sets on this machine.
        part: of the data.
        network: ``student`` or ``teacher``.
        most: clips of either kind.

    Returns:
        Clips gained and clips lost, those shown and how many there are.

    Raises:
        NothingToDraw: a trial has no predictions.
    """
    mine, theirs = (predicted(rows, part=part, network=network).set_index("clip_id") for rows in (predictions, base))
    names = class_table(mine.reset_index())["name"].to_dict()
    other = theirs.reindex(mine.index)
    before = other.said.to_dict()
    kinds = {"gained": mine.right & ~other.right.astype(bool), "lost": ~mine.right & other.right.astype(bool)}
    strips: dict[str, list[Strip]] = {}
    counts = (int(kinds["gained"].sum()), int(kinds["lost"].sum()))
    absent = 0
    for kind, chosen in kinds.items():
        strips[kind] = []
        for clip_id, row in _in_turn(mine[chosen], most).iterrows():
            label, said, once = (names.get(k, str(k)) for k in (row.label, row.said, before[clip_id]))
            caption = f"{label}: said {said}, the second trial {once}"
            try:
                strips[kind].append((caption, _frames(row, _stored_root(trial), root)))
            except (DecodeError, OSError):
                absent += 1
    return Strips(strips["gained"], strips["lost"], counts, absent)


def _in_turn(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """The surest clip of every class, then each class's second, and so on."""
    order = rows.sort_values(["confidence", "path"], ascending=[False, True], kind="stable")
    turn = order.groupby("label").cumcount()
    return order.assign(_turn=turn).sort_values("_turn", kind="stable").drop(columns="_turn").head(most)


def _stored_root(trial: pd.Series) -> str:
    try:
        return str(json.loads(text_of(trial.config_json))["scope"]["root"])
    except (ValueError, KeyError):
        return ""


def _frames(row: pd.Series, stored_root: str, root: str) -> np.ndarray:
    """Frames of a clip that lies where it lay, or at the same place below another root."""
    path = Path(row.path)
    if not path.exists() and stored_root and str(row.path).startswith(stored_root):
        path = Path(root, str(row.path).removeprefix(stored_root).lstrip("/"))
    start, end = int(row.start_frame), int(row.end_frame)
    count = clip_frames(path, start, end)
    numbers = np.linspace(0, count - 1, min(FRAMES, count)).round().astype(int).tolist()
    return decode_frames(path, numbers, start_frame=start, end_frame=end)
