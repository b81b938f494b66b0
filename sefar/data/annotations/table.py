"""The clip table that every reader returns.

A clip table is a pandas frame with the columns of `CLIP_COLUMNS`: `label` is the data set's own number (−1: unknown),
frames `start_frame` … `end_frame` (exclusive; −1: to the end) of the file at `path`, `group` the source video or
performer, `split` one of train, unlabelled, test. While a reader works, a further column `where` holds each row's file
and line, for the findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

CLIP_COLUMNS = (
    "clip_id",
    "path",
    "label",
    "label_name",
    "event",
    "set",
    "group",
    "start_frame",
    "end_frame",
    "split",
)
WHOLE_FILE = {"event": "", "set": "", "start_frame": 0, "end_frame": -1, "where": ""}


def clip_rows(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """The rows as a clip table with the column `where`; what a row leaves out of event, set and window is none."""
    table = pd.DataFrame([{**WHOLE_FILE, **row} for row in rows], columns=[*CLIP_COLUMNS, "where"])
    return table.astype(dict.fromkeys(("label", "start_frame", "end_frame"), "int64"))
