"""Columns of the store's tables, and the way from plain rows to Arrow."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

SCHEMA_VERSION = 2  # 2: clip counts of trials; class, set and group of predictions; compacted files

METRIC = "dev_student_top1"  # trials are chosen by it, after their last epoch; percent, greater is better
SEARCH, TRANSFER, DEFAULT, SUPERVISED = "search", "transfer", "default", "supervised"  # roles of a trial
CONFIRM = "confirm"  # its stage, or SEARCH
RUNNING, FINISHED, PRUNED, FAILED = "running", "finished", "pruned", "failed"  # its status

TEXT, REAL, WHOLE = pa.string(), pa.float64(), pa.int64()
KEYS = [("trial_id", TEXT), ("attempt", pa.int32())]


@dataclass(frozen=True)
class TableSpec:
    """A table of the store.

    Attributes:
        key: what names a row, attempts apart.
        schema: the columns every file has; files may hold more.
        whole_attempts: a later attempt replaces all rows of the earlier one, not only those with the same key.
    """

    key: tuple[str, ...]
    schema: pa.Schema
    whole_attempts: bool = False


TRIALS = [
    ("number", WHOLE),
    ("role", TEXT),
    ("stage", TEXT),  # search | confirm
    ("confirms", TEXT),  # search trial whose configuration a confirm trial repeats; empty for named ones
    ("train_seed", WHOLE),
    ("status", TEXT),
    ("error", TEXT),
    ("notes", TEXT),  # what befell the trial without ending it
    ("split_hash", TEXT),
    ("labelled_clips", WHOLE),  # that the trial trains on
    ("unlabelled_clips", WHOLE),
    ("classes", WHOLE),
    ("missing_labelled", WHOLE),  # clips that were absent or quarantined and left out
    ("missing_unlabelled", WHOLE),
    ("missing_dev", WHOLE),
    ("missing_test", WHOLE),
    ("recipe", TEXT),
    ("study_hash", TEXT),
    ("space_hash", TEXT),
    ("planned", WHOLE),  # trials planned for the scope when this one started
    ("parameters", TEXT),  # JSON: what the search chose
    ("config_json", TEXT),
    ("config_hash", TEXT),
    ("epochs_planned", WHOLE),
    ("epochs_done", WHOLE),
    ("best_epoch", WHOLE),
    ("best_dev_student_top1", REAL),
    ("dev_student_top1", REAL),
    ("dev_teacher_top1", REAL),
    ("test_student_top1", REAL),
    ("test_student_top5", REAL),
    ("test_student_mean_class", REAL),
    ("test_teacher_top1", REAL),
    ("test_teacher_top5", REAL),
    ("test_teacher_mean_class", REAL),
    ("seconds", REAL),
    ("accelerator_seconds", REAL),
    ("workers", WHOLE),  # processes of a distributed trial, over all nodes
    ("started_at", TEXT),
    ("updated_at", TEXT),  # when the row was last written
    ("log", TEXT),  # the trial's log file: path or URI
    ("host", TEXT),
    ("device", TEXT),
    ("python_version", TEXT),
    ("torch_version", TEXT),
    ("ray_version", TEXT),
    ("sefar_version", TEXT),
    ("commit", TEXT),
]
EPOCHS = [
    ("epoch", WHOLE),
    ("step", WHOLE),
    ("dev_student_top1", REAL),
    ("dev_teacher_top1", REAL),
    ("train_seconds", REAL),
    ("eval_seconds", REAL),
]
PREDICTIONS = [
    ("part", TEXT),
    ("clip_id", TEXT),
    ("path", TEXT),
    ("start_frame", WHOLE),
    ("end_frame", WHOLE),
    ("label", WHOLE),
    ("label_name", TEXT),
    ("set", TEXT),  # of the label: a block of the confusion matrix
    ("group", TEXT),  # source video or performer: clips of one group are not independent
    ("student_top5", pa.list_(WHOLE)),
    ("teacher_top5", pa.list_(WHOLE)),
    ("confidence", REAL),
    ("spread", REAL),
]
REGULATION = [
    ("epoch", WHOLE),
    ("confidence_low", REAL),
    ("confidence_high", REAL),
    ("spread_low", REAL),
    ("spread_high", REAL),
    ("clips", WHOLE),
    ("known_clips", WHOLE),
    ("right_clips", WHOLE),
    ("weight_sum", REAL),
]
BENCHMARKS = [
    ("benchmark", TEXT),
    ("case", TEXT),  # the question of a comparison; empty for a figure
    ("way", TEXT),  # one of its sides; the name of a figure
    ("repeat", WHOLE),
    ("value", REAL),
    ("unit", TEXT),
    ("target", TEXT),  # of a figure, and whether it is met
    ("device", TEXT),
    ("host", TEXT),
    ("started_at", TEXT),
]
TABLES = {
    "trials": TableSpec(("trial_id",), pa.schema(KEYS + TRIALS)),
    "epochs": TableSpec(("trial_id", "epoch"), pa.schema(KEYS + EPOCHS)),
    "predictions": TableSpec(("trial_id", "part", "clip_id"), pa.schema(KEYS + PREDICTIONS), whole_attempts=True),
    "regulation": TableSpec(
        ("trial_id", "epoch", "confidence_low", "spread_low"), pa.schema(KEYS + REGULATION), whole_attempts=True
    ),
    "benchmarks": TableSpec(("trial_id", "benchmark", "case", "way", "repeat"), pa.schema(KEYS + BENCHMARKS)),
}


def now() -> str:
    """A moment as the rows have it: UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def text_of(value: Any) -> str:
    """A text as rows that are read have it; empty for a null, which reads as NaN or None."""
    return value if isinstance(value, str) else ""


def to_table(table: str, rows: Iterable[Mapping[str, Any]] | pd.DataFrame, *, trial_id: str, attempt: int) -> pa.Table:
    """Rows as Arrow: the table's columns in order, then whatever else the rows hold.

    Further columns take the type of their values; numbers other than booleans become doubles, so that files of
    different trials agree, and a column without any value is left out, since Parquet would give it no type.
    """
    schema = TABLES[table].schema
    records: list[dict[Any, Any]] = (
        rows.to_dict("records") if isinstance(rows, pd.DataFrame) else [dict(row) for row in rows]
    )
    for record in records:
        record |= {"trial_id": trial_id, "attempt": attempt}
    fields, columns = [], []
    for field in schema:
        fields.append(field)
        columns.append(pa.array([_known(r.get(field.name), field.type) for r in records], field.type))
    further = sorted({name for r in records for name in r} - set(schema.names))
    for name in further:
        values = [_plain(r.get(name)) for r in records]
        if any(v is not None for v in values):
            columns.append(pa.array(values))
            fields.append(pa.field(name, columns[-1].type))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _known(value: Any, kind: pa.DataType) -> Any:
    if value is None or (isinstance(value, float) and value != value and not pa.types.is_floating(kind)):
        return None
    if pa.types.is_integer(kind):
        return int(value)
    if pa.types.is_list(kind):
        return [int(v) for v in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    return json.dumps(value)
