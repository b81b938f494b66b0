"""The sample store: made without a trace of the machine, and the one committed has what tests need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sefar.errors import DataError
from studies import sample_store as script
from studies.results.schema import CONFIRM, FAILED, FINISHED, PRUNED
from studies.results.scores import tidy_scores
from studies.results.store import ResultStore
from studies.results.verify import verify

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample_store"
ROOT = "/home/somebody/runs/sample/data"


def write(store: ResultStore, trial: str, **values: Any) -> None:
    row = {
        "number": 0,
        "role": "search",
        "status": FINISHED,
        "epochs_done": 1,
        "host": "node17.cluster",
        "log": "/home/somebody/runs/sample/store.work/logs/s/t.log",
        "config_json": f'{{"scope": {{"root": "{ROOT}"}}}}',
        "config.scope.root": ROOT,
        "error": None,
        **values,
    }
    writer = store.writer("s", "synthgym/core@1pc#0", trial)
    writer.trial(row)
    writer.epoch({"epoch": 1, "dev_student_top1": 50.0})


def test_what_tells_of_the_machine_is_replaced() -> None:
    table = pa.table(
        {"host": ["node17", None], "log": ["/a/b/t.log", None], "path": [f"{ROOT}/synthgym/a.mp4", "b.mp4"]}
    )
    table = table.append_column("error", pa.array([f"{ROOT}: is empty", None])).append_column("n", pa.array([1, 2]))
    assert script.neutral(table, ROOT).to_pylist() == [
        {"host": "sample", "log": "logs/t.log", "path": "data/synthgym/a.mp4", "error": "data: is empty", "n": 1},
        {"host": None, "log": None, "path": "b.mp4", "error": None, "n": 2},
    ]


def test_collected_store_is_small_sound_and_neutral(tmp_path: Path) -> None:
    store, out = ResultStore(str(tmp_path / "store"), create=True), tmp_path / "out"
    for number in range(3):
        write(store, f"t{number}", number=number)
    script.collect(store, out, ROOT)
    copy = ResultStore(str(out))
    assert list(verify(copy)) == []
    assert len(list(out.rglob("*.parquet"))) == 2  # trials and epochs, three files each joined
    was, now = store.trials(), copy.trials()
    assert set(now.host) == {"sample"} and set(now["config.scope.root"]) == {"data"}
    assert set(now.config_json) == {'{"scope": {"root": "data"}}'}
    changed = ["host", "log", "config_json", "config.scope.root"]
    assert now.drop(columns=changed).equals(was.drop(columns=changed))
    assert copy.epochs().equals(store.epochs())
    script.collect(store, out, ROOT)  # replaces what was there
    assert len(list(out.rglob("*.parquet"))) == 2


def test_a_path_that_is_left_is_an_error(tmp_path: Path) -> None:
    store = ResultStore(str(tmp_path / "store"), create=True)
    write(store, "t", notes="/home/somebody/elsewhere/x.mp4 is torn")
    with pytest.raises(DataError, match=r"a path of this machine is left \(notes: /home/somebody/elsewhere"):
        script.collect(store, tmp_path / "out", ROOT)


def test_what_lies_at_out_survives_a_failure(tmp_path: Path) -> None:
    store, out = ResultStore(str(tmp_path / "store"), create=True), tmp_path / "out"
    write(store, "t")
    script.collect(store, out, ROOT)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    write(store, "torn", notes="/home/somebody/elsewhere/x.mp4 is torn")
    with pytest.raises(DataError, match="a path of this machine is left"):
        script.collect(store, out, ROOT)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_but_a_store_is_replaced(kind: str, tmp_path: Path) -> None:
    store, out = ResultStore(str(tmp_path / "store"), create=True), tmp_path / "out"
    write(store, "t")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    if kind == "folder":
        mine = mine.rename(out)
    elif kind == "file":
        out.write_text("years of work")
    else:
        out.symlink_to(mine)
    said = "holds files and is no result store" if kind == "folder" else "expected a folder, got a file or link"
    with pytest.raises(DataError, match=f"--out .*out: {said}"):
        script.collect(store, out, ROOT)
    assert (out if kind == "file" else mine / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    store, out = ResultStore(str(tmp_path / "store"), create=True), tmp_path / "out"
    write(store, "t")
    out.mkdir()
    script.collect(store, out, ROOT)
    assert len(ResultStore(str(out)).trials()) == 1


def test_committed_store_is_small_sound_and_tells_of_no_machine() -> None:
    store = ResultStore(str(SAMPLE))
    assert list(verify(store)) == []
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 1.5e6
    for read in (store.trials, store.epochs, store.predictions, store.regulation):
        assert len(rows := read(arrow=True)) and list(script.leftovers(rows)) == []
    trials = store.trials()
    assert set(trials.host) == {"sample"} and set(trials["config.scope.root"]) == {"data"}
    said = SAMPLE.with_name("sample_store.md").read_text("utf-8")
    assert "They are no findings" in said and trials.commit.iloc[0] in said
    for command in script.STUDIES.values():
        assert f"- `python {command}`" in said


def test_committed_store_has_what_tests_and_notebooks_draw() -> None:
    store = ResultStore(str(SAMPLE))
    trials = store.trials()
    assert sorted(trials.study.unique()) == ["ablation", "label_efficiency", "sweep"]
    assert not (trials.status == FAILED).any() and trials.labelled_clips.notna().all()
    sweep = trials[trials.study == "sweep"]
    assert (sweep.status == PRUNED).any() and set(sweep[sweep.stage == CONFIRM].role) == {
        "default",
        "supervised",
        "search",
    }
    assert (
        sweep[sweep.stage == CONFIRM].groupby(["role", "scope"]).size().eq(2).all()
    )  # two seeds on each of two splits
    scores = tidy_scores(trials)
    few = scores[(scores.study == "label_efficiency") & (scores.fraction != "1")]
    assert few.groupby(["method", "fraction"]).size().to_dict() == {
        (method, fraction): 3
        for method in ("SeFAR", "supervised", "fixmatch τ=0.5")
        for fraction in ("1pc", "3pc", "10pc")
    }
    arms = set(trials[trials.study == "ablation"].role)
    assert {"reference", "perturbations/none", "perturbations/warp", "thresholds/tau_0.5"} <= arms
    predictions = store.predictions(study="label_efficiency")
    assert predictions[["set", "group", "label_name"]].notna().all(axis=None)
    assert set(predictions.trial_id) == set(trials[trials.study == "label_efficiency"].trial_id)
    assert (store.regulation().known_clips > 0).any()
