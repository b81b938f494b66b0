"""The notebooks: as committed, and as they run on the sample store, on a meagre one and on none."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from studies.results.pages import warnings_of
from studies.results.store import ResultStore
from tests.studies.stores import attempt

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SAMPLE = ROOT / "tests" / "data" / "sample_store"
PICTURES = {  # that the sample store is enough for
    "01_what_was_run": 3,
    "02_which_configuration": 5,
    "03_how_many_labels": 2,
    "04_regulation": 3,
    "05_perturbation": 2,
    "06_errors": 2,
}


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "studies" / "notebooks.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=540)


def test_there_are_six() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(PICTURES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_asks_one_question_in_few_cells_and_is_committed_without_outputs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    title = cells[0].source.splitlines()[0]
    assert cells[0].cell_type == "markdown" and title.startswith("# ") and title.endswith("?")
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert 5 <= len(code) <= 10 and code[0].metadata.tags == ["parameters"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_runs_on_the_sample_store(path: Path, tmp_path: Path) -> None:
    done = run(path.stem, "--store", str(SAMPLE), "--root", str(tmp_path / "data"), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / f"{path.stem}.html").read_text(encoding="utf-8")
    assert warnings_of(tmp_path / path.name) == [] and "arning:" not in done.stderr
    shown = re.findall(r'<img alt="([^"]*)" class="" src="data:image/png;base64,', page)
    assert len(shown) == page.count("<img") >= PICTURES[path.stem]
    assert len(set(shown)) == len(shown) and all(len(text) > 20 and "No description" not in text for text in shown)
    assert re.findall(r"""(?:src=|href=|import|Url =)[ (]*["']https?://""", page) == []


def known_answers(store: ResultStore) -> None:
    """Supervised errs by 80 · n^−0.3 %, SeFAR by four fifths of that; with all labels another recipe is trained."""
    for fraction, labels in (("1pc", 12), ("3pc", 36), ("10pc", 120), ("25pc", 300), ("1", 700)):
        for seed in range(3):
            error = 80 * labels**-0.3 * (0.98 + 0.02 * seed)
            methods = {"sefar @": 0.8 * error, "supervised @": error} if fraction != "1" else {"supervised @": 0.5}
            for method, shown in methods.items():
                attempt(
                    store,
                    f"{method[:2]}-{fraction}-{seed}",
                    {1: 100 - shown},
                    study="label_efficiency",
                    scope=f"synthgym/core@{fraction}#{seed}",
                    role=f"{method}{fraction}",
                    train_seed=seed,
                    labelled_clips=labels,
                    test_student_top1=100 - shown,
                    seconds=10.0,
                )


@pytest.mark.slow
def test_conclusions_are_those_of_the_numbers(tmp_path: Path) -> None:
    known_answers(ResultStore(str(tmp_path / "my store"), create=True))
    done = run("03_how_many_labels", "06_errors", "--store", str(tmp_path / "my store"), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "03_how_many_labels.html").read_text(encoding="utf-8")
    assert "SeFAR against supervised training: by single intervals better in 4 of 4 (core@1pc, core@3pc, " in page
    equal = re.search(r"SeFAR at 36 labels equals supervised at (\d+)", page)
    assert equal is not None and abs(int(equal[1]) - 36 * 0.8 ** (-1 / 0.3)) < 4  # n · 0.8^(−1/β): 75.7
    beta = re.search(r"<td>supervised</td>(?:\s*<td>[^<]*</td>){2}\s*<td>(0\.\d+)", page)
    assert beta is not None and abs(float(beta[1]) - 0.3) < 0.02  # the run with all labels is no point of the law
    assert "No two trials with predictions" in (tmp_path / "06_errors.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_where_tables_are_missing_each_says_so_and_goes_on(tmp_path: Path) -> None:
    """A store of one trial that was stopped in its first epoch."""
    attempt(ResultStore(str(tmp_path / "store"), create=True), "t0", {1: 10.0}, "pruned", role="default", seconds=3.0)
    done = run("--store", str(tmp_path / "store"), "--root", str(tmp_path / "data"), "--out", str(tmp_path / "pages"))
    assert done.returncode == 0, done.stderr
    for path in NOTEBOOKS:
        text = (tmp_path / "pages" / f"{path.stem}.html").read_text(encoding="utf-8")
        assert warnings_of(tmp_path / "pages" / path.name) == []
        assert re.search(r"<em>No |<em>Without|no finished|one training seed", text), path.stem


@pytest.mark.slow
def test_a_cell_that_fails_is_one_line(tmp_path: Path) -> None:
    done = run("01_what_was_run", "--store", str(tmp_path / "none"), "--out", str(tmp_path / "pages"))
    assert done.returncode != 0 and done.stderr.count("\n") == 1
    assert re.match(r"error: 01_what_was_run.ipynb, cell \d: NoStoreError: .*there is no result store", done.stderr)


def test_a_notebook_that_is_none_is_one_line(tmp_path: Path) -> None:
    done = run("02_which", "--out", str(tmp_path))
    assert done.returncode != 0
    assert done.stderr.startswith("error: notebook '02_which': there is none — did you mean '02_which_configuration'")
