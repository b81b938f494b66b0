"""Readers of a store: ours as pandas and Arrow, and those that know Parquet alone."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sefar.errors import StoreError
from studies.results.compaction import compact
from studies.results.reading import concatenate
from studies.results.rows import holding, key_codes
from studies.results.store import ResultStore
from tests.studies.stores import OTHER, SCOPE, attempt

DOCS = Path(__file__).resolve().parents[2] / "docs/storage.md"


@pytest.fixture(params=[False, True], ids=["as written", "compacted"])
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ResultStore:
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))
    store = ResultStore(str(tmp_path / "store"), create=True)
    attempt(store, "t0", {1: 10.0, 2: 20.0}, clips=3, **{"config.kind": "none", "config.depth": 2})
    attempt(store, "t1", {1: 11.0, 2: 12.0}, clips=2, **{"config.kind": 0.5, "config.flag": True})
    attempt(store, "t2", {1: 5.0}, "running", scope=OTHER)
    attempt(store, "t3", {1: 6.0, 2: 7.0}, "pruned", scope=OTHER)
    attempt(store, "t4", {1: 8.0}, "pruned", scope=OTHER)
    if request.param:
        assert compact(store, pause_seconds=0.0).joined == 8  # "config.kind" keeps the rows of t0 and t1 apart
    return store


def test_arrow_and_pandas_agree(store):
    for table in ("trials", "epochs", "predictions", "regulation"):
        rows = store.read(table, arrow=True)
        assert isinstance(rows, pa.Table)
        pd.testing.assert_frame_equal(rows.to_pandas(), store.read(table))
    rows = store.epochs(arrow=True, scope=OTHER, trial_id="t3", columns=["dev_student_top1"])
    assert rows.to_pydict() == {
        **{"study": ["s", "s"], "scope": [OTHER, OTHER], "trial_id": ["t3", "t3"], "attempt": [1, 1]},
        **{"epoch": [1, 2], "dev_student_top1": [6.0, 7.0]},
    }
    assert store.predictions(arrow=True)["student_top5"].to_pylist()[0] == [0, 1]


def test_a_column_that_is_number_and_text_reads_as_text(store):
    kinds = store.trials(columns=["config.kind", "config.flag"]).set_index("trial_id")
    assert kinds["config.kind"].dropna().to_dict() == {"t0": "none", "t1": "0.5"}
    assert kinds["config.flag"].dropna().to_dict() == {"t1": True}


def test_pandas_reads_a_table_as_plain_parquet(store):
    rows = pd.read_parquet(f"{store.uri}/epochs")
    assert sorted(rows.scope.astype(str).unique()) == [SCOPE, OTHER] and set(rows.study.astype(str)) == {"s"}
    ours = store.epochs().sort_values(["trial_id", "epoch"])
    theirs = rows.sort_values(["trial_id", "epoch"])
    assert theirs[["trial_id", "epoch", "dev_student_top1"]].values.tolist() == (
        ours[["trial_id", "epoch", "dev_student_top1"]].values.tolist()
    )


def test_duckdb_reads_a_table_as_plain_parquet(store):
    query = (
        "select trial_id, scope, max(dev_student_top1) from read_parquet($files, hive_partitioning = true, "
        "union_by_name = true) where study = 's' group by all order by 1"
    )
    rows = duckdb.execute(query, {"files": f"{store.uri}/epochs/**/*.parquet"}).fetchall()
    assert rows == [
        *[("t0", SCOPE, 20.0), ("t1", SCOPE, 12.0), ("t2", OTHER, 5.0), ("t3", OTHER, 7.0), ("t4", OTHER, 8.0)]
    ]
    epochs = store.epochs(arrow=True)
    assert epochs.num_rows == 8
    assert duckdb.execute("select count(*), sum(dev_student_top1) from epochs").fetchall() == [(8, 79.0)]


def test_duckdb_keeps_the_rows_that_hold(store):
    """The queries of docs/storage.md."""
    attempt(store, "t1", {2: 22.0}, clips=1)
    assert compact(store, pause_seconds=0.0).joined > 0
    attempt(store, "t1", {2: 33.0}, clips=1)
    queries = [text.split('"""')[0] for text in DOCS.read_text().split('duckdb.sql("""')[1:3]]
    for table, query in zip(("epochs", "predictions"), queries, strict=True):
        rows = duckdb.sql(query.replace("runs/first", store.uri)).df()
        ours, key = store.read(table), ["scope", "trial_id", *(["epoch"] if table == "epochs" else ["clip_id"])]
        pd.testing.assert_frame_equal(
            rows[[*key, "attempt"]].sort_values(key, ignore_index=True),
            ours[[*key, "attempt"]].sort_values(key, ignore_index=True),
        )
    assert store.predictions(trial_id="t1").clip_id.tolist() == ["c0"]


def test_what_cannot_be_asked_for(store):
    with pytest.raises(StoreError, match="no table 'epoch' — did you mean 'epochs'"):
        store.read("epoch")
    with pytest.raises(TypeError, match="unknown argument 'studdy' — did you mean 'study'"):
        store.trials(studdy="s")
    with pytest.raises(TypeError, match="columns: expected a list of names, got 'step'; write \\['step'\\]"):
        store.epochs(columns="step")


def test_a_column_of_another_type_makes_a_file_foreign(store):
    path = Path(store.uri, store.writer("s", SCOPE, "t9").path("epochs"))
    pq.write_table(pa.table({"trial_id": ["t9"], "attempt": [1], "epoch": ["one"]}), path)
    assert "t9" not in set(store.epochs().trial_id)
    (problem,) = store.problems()
    assert problem.endswith("t9-a1.parquet: column 'epoch' is string, expected int64; skipped")
    small = {"trial_id": pa.array(["t9"], pa.large_string()), "attempt": [1], "epoch": pa.array([1], pa.int8())}
    pq.write_table(pa.table(small), path)
    assert store.epochs(trial_id="t9").epoch.tolist() == [1]


def test_foreign_columns_are_no_hindrance(store):
    path = Path(store.uri, store.writer("s", SCOPE, "t9").path("epochs"))
    key = {"trial_id": ["t9"], "attempt": [1], "epoch": [1]}
    double = pa.Table.from_arrays([pa.array(v) for v in (*key.values(), [1.0], [2.0])], names=[*key, "z", "z"])
    pq.write_table(double, path)
    assert "t9" not in set(store.epochs().trial_id)
    assert store.problems()[0].endswith("t9-a1.parquet: has column 'z' more than once; skipped")
    pq.write_table(pa.table(key | {"total_loss": pa.array([2**60 + 1])}), path)
    assert store.epochs(trial_id="t9").total_loss.tolist() == [2**60 + 1]
    assert set(store.epochs().set_index("trial_id").total_loss) == {1.5, float(2**60)}


def test_a_trial_keeps_its_types_whatever_lies_in_the_files_of_others(store):
    assert store.trials(trial_id="t1")["config.kind"].tolist() == [0.5]
    assert store.trials(trial_id="t0")["config.kind"].tolist() == ["none"]


def test_rows_that_hold_by_hand():
    table = pa.table({"trial_id": ["b", "a", "a", "a", "b"], "epoch": [1, 2, 1, 1, 1], "attempt": [1, 1, 1, 2, 1]})
    codes = key_codes(table, np.array([0, 0, 0, 0, 0]), ("trial_id", "epoch"))
    assert codes.tolist() == [2, 1, 0, 0, 2]
    attempts, ranks = table["attempt"].to_numpy(), np.array([1, 0, 0, 0, 0])
    # a/1 in attempt 2, a/2, and of the two b/1 that of the higher rank
    assert holding(codes, attempts, ranks, all_attempts=False).tolist() == [3, 1, 0]
    assert holding(codes, attempts, ranks, all_attempts=True).tolist() == [2, 3, 1, 0]
    assert holding(np.array([0, 1, 5]), attempts[:3], ranks[:3], all_attempts=False) is None
    assert key_codes(table, np.array([1, 0, 0, 0, 0]), ("trial_id",)).tolist() == [3, 0, 0, 0, 1]


def test_tables_with_different_columns_are_joined():
    first, second = pa.table({"b": [1.0], "a": [1]}), pa.table({"a": [2], "c": [[1, 2]]})
    joined = concatenate(
        [first, second, pa.table({"c": ["x"], "a": [3]})], pa.schema([("a", pa.int64()), ("z", "str")])
    )
    assert joined.column_names == ["a", "z", "b", "c"]
    assert joined["a"].to_pylist() == [1, 2, 3] and joined["z"].to_pylist() == [None] * 3
    assert joined["b"].to_pylist() == [1.0, None, None] and joined["c"].to_pylist() == [None, "[1, 2]", "x"]


def test_rows_keep_their_study_and_scope_however_columns_differ(tmp_path):
    """Files of two sets of columns, in turn over studies and scopes."""
    store = ResultStore(str(tmp_path / "store"), create=True)
    expected = []
    for number, (study, scope) in enumerate((s, f"synthgym/core@{p}pc#0") for s in "ab" for p in range(1, 6)):
        further = {"config.a": 1.0} if number % 2 else {"config.b": "x", "config.c": 2.0}
        attempt(store, f"t{number}", {1: float(number)}, study=study, scope=scope, error=f"{study} {scope}", **further)
        expected.append((study, scope, f"t{number}"))
    trials = store.trials()
    assert list(zip(trials.study, trials.scope, trials.trial_id, strict=True)) == sorted(expected)
    assert (trials.error == trials.study + " " + trials.scope).all()
    assert store.epochs().merge(trials[["trial_id", "scope"]], on=["trial_id", "scope"]).shape[0] == 10
