"""`sefar-results`: what it prints, writes and refuses, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studies.results import __main__ as command
from studies.results.schema import TABLES
from studies.results.store import ResultStore
from tests.studies.stores import OTHER, SCOPE, attempt

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    monkeypatch.setenv("SEFAR_SPOOL", str(tmp_path / "spool"))
    store = ResultStore(str(tmp_path / "store"), create=True)
    attempt(store, "t0", {1: 10.0, 2: 20.0}, clips=3)
    attempt(store, "t1", {1: 11.0}, "running")
    attempt(store, "t1", {1: 12.0, 2: 13.0}, clips=2)
    attempt(store, "t2", {1: 5.0}, "running", scope=OTHER)
    return store


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sefar-results", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return call


def test_verify_and_compact(store, run):
    assert run("verify", store.uri) == (0, f"{store.uri}: sound\n", "")
    code, out, _ = run("compact", store.uri)
    assert code == 0 and out.splitlines() == [
        f"{store.uri}: 8 files joined into 3",
        "1 trials have not ended and were left alone",
    ]
    Path(store.uri, "thesis.tex").write_text("x")
    code, out, _ = run("verify", store.uri)
    assert (code, out.splitlines()) == (
        1,
        ["thesis.tex: not a file of this store; move it elsewhere", f"{store.uri}: something is wrong"],
    )


def test_leaderboard(store, run):
    code, out, _ = run("leaderboard", store.uri)
    assert code == 0 and out.index(SCOPE) < out.index(OTHER) and "best on dev: trial 000 with test 50.0 %" in out
    attempt(store, "t9", {1: 1.0}, study="other")
    assert "study other" in run("leaderboard", store.uri)[1]
    assert "study s" not in run("leaderboard", store.uri, "--study", "s")[1]
    code, _, err = run("leaderboard", store.uri, "--study", "othre")
    assert (code, err) == (2, f"error: --study: {store.uri} has no 'othre' — did you mean 'other'?\n")


def test_export_of_one_table(store, run, tmp_path):
    code, out, _ = run("export", store.uri, "epochs", tmp_path / "epochs.csv")
    assert code == 0 and out == f"{tmp_path}/epochs.csv: 5 rows\n"
    rows = pd.read_csv(tmp_path / "epochs.csv")
    assert rows.dev_student_top1.tolist() == [10.0, 20.0, 12.0, 13.0, 5.0]  # last attempts
    code, _, err = run("export", store.uri, "epochs", tmp_path / "epochs.csv")
    assert (
        code == 2
        and err == f"error: {tmp_path}/epochs.csv: is there already; give another name, or --force to replace it\n"
    )
    assert run("export", store.uri, "epochs", tmp_path / "epochs.csv", "--force", "--scope", OTHER)[0] == 0
    assert pd.read_csv(tmp_path / "epochs.csv").trial_id.tolist() == ["t2"]
    run("export", store.uri, "predictions", tmp_path / "clips.csv")
    assert json.loads(pd.read_csv(tmp_path / "clips.csv").student_top5[3]) == [0, 2]
    run("export", store.uri, "trials", tmp_path / "new/trials.parquet", "--study", "s")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "new/trials.parquet"), store.trials())


def test_export_of_what_csv_has_no_place_for(store, run, tmp_path):
    path = Path(store.uri, store.writer("s", SCOPE, "t9").path("epochs"))
    key = {"trial_id": ["t9"], "attempt": [1], "epoch": [1]}
    pq.write_table(pa.table(key | {"more": [{"a": 1, "b": ["x"]}]}), path)
    assert run("export", store.uri, "epochs", tmp_path / "nested.csv")[0] == 0
    assert json.loads(pd.read_csv(tmp_path / "nested.csv").more.dropna().item()) == {"a": 1, "b": ["x"]}
    pq.write_table(pa.table(key | {"more": [b"\xff\x00"]}), path)
    code, _, err = run("export", store.uri, "epochs", tmp_path / "bytes.csv")
    text = f"error: {tmp_path}/bytes.csv: column 'more' is no text (binary), which CSV cannot hold; export to .parquet"
    assert (code, err) == (2, f"{text}\n") and not (tmp_path / "bytes.csv").exists()
    assert run("export", store.uri, "epochs", tmp_path / "bytes.parquet")[0] == 0


def test_export_says_that_rows_are_missing(store, run, tmp_path):
    next(Path(store.uri, "epochs").rglob("t0-a1.parquet")).write_bytes(b"torn")
    code, out, err = run("export", store.uri, "epochs", tmp_path / "epochs.csv")
    assert code == 1 and out == f"{tmp_path}/epochs.csv: 3 rows\n"
    assert err.startswith(f"skipped: {store.uri}/epochs/") and "torn" in err


def test_export_of_all_tables(store, run, tmp_path):
    run("export", store.uri, "all", tmp_path / "folder")
    run("export", store.uri, "all", tmp_path / "my_{table}.csv")
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == sorted(f"{t}.parquet" for t in TABLES)
    assert {path.name for path in tmp_path.glob("my_*.csv")} == {f"my_{table}.csv" for table in TABLES}
    before = (tmp_path / "folder/trials.parquet").read_bytes()
    (tmp_path / "folder/epochs.parquet").unlink()
    assert "is there already" in run("export", store.uri, "all", tmp_path / "folder")[2]
    assert (tmp_path / "folder/trials.parquet").read_bytes() == before
    assert not (tmp_path / "folder/epochs.parquet").exists()  # all or none


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["export", "{store}", "epoch", "x.csv"], "there is no 'epoch' — did you mean 'epochs'?"),
        (["export", "{store}", "epochs", "x.xlsx"], "expected a name that ends in .csv or .parquet"),
        (["export", "{store}", "all", "x.csv"], "one file cannot hold all tables; write {table}.csv, or name a folder"),
        (["export", "{store}", "epochs", "x.csv", "--scope", "core"], "--scope: "),
        (["export", "{store}", "epochs", "/proc/x/y.csv"], "/proc/x/y.csv: cannot be written"),
        (["verfy", "{store}"], "there is no command 'verfy' — did you mean 'verify'?"),
        (["verify", "{store}/nowhere"], "there is no result store"),
        (["verify", "{store}", "--studdy", "s"], "--studdy: unknown flag"),
        (["verify"], "the following arguments are required: STORE"),
        (["merge", "{store}", "{store}"], "cannot be merged into itself"),
    ],
)
def test_errors_are_one_line(store, run, arguments, text):
    code, _, err = run(*[argument.replace("{store}", store.uri) for argument in arguments])
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and text in err


def test_merge(store, run, tmp_path):
    target = tmp_path / "all"
    code, out, _ = run("merge", target, store.uri)
    assert code == 0 and out == f"{target}: 10 files copied; of 0 the rows were there\n"
    other = ResultStore(str(tmp_path / "b"), create=True)
    attempt(other, "t0", {1: 99.0})
    code, _, err = run("merge", target, other.uri)
    assert code == 2 and "study 's': 1 trials (t0) have other trials in" in err
    code, out, _ = run("merge", target, other.uri, "--rename")
    assert code == 0 and f"study 's' of {other.uri} is now called 's-2'" in out
    assert sorted(ResultStore(str(target)).trials().study.unique()) == ["s", "s-2"]


def test_report_is_written_by_the_report_module(store, run, monkeypatch, tmp_path):
    asked = []

    def write_report(store: ResultStore, study: str, path: Path) -> Path:
        asked.append((store.uri, study, path))
        return path

    module = types.ModuleType("studies.results.report")
    module.write_report = write_report  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "studies.results.report", module)
    assert run("report", store.uri)[1] == "s.html\n"
    assert run("report", store.uri, "--study", "s", "--out", tmp_path / "page.html")[1] == f"{tmp_path}/page.html\n"
    assert asked == [(store.uri, "s", Path("s.html")), (store.uri, "s", tmp_path / "page.html")]
    attempt(store, "t9", {1: 1.0}, study="other")
    assert "holds other, s; choose one with --study" in run("report", store.uri, "--out", "x.html")[2]
    assert run("report", store.uri)[1] == "other.html\ns.html\n"


def test_it_runs_as_a_module_without_heavy_imports(store):
    heavy = "{'torch', 'ray', 'matplotlib', 'optuna'}"
    code = f"import sys, studies.results.__main__; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n"
    command = [sys.executable, "-m", "studies.results", "verify", store.uri]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{store.uri}: sound\n", "")
