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
    assert page.count("data:image/png;base64,") == page.count("<img") >= PICTURES[path.stem]
    assert len(re.findall(r'alt="[^"]{10,}"', page)) >= PICTURES[path.stem]
    assert re.findall(r'(?:src|href)="https?://[^"]*"', page) == []


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
