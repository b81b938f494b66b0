"""What notebooks stand on: several stores as one, figures or a sentence, tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from sefar.errors import ConfigError, StoreError
from studies.results import notebook
from studies.results.figures.style import NothingToDraw, new_figure
from studies.results.notebook import Results, bullets, show, table
from studies.results.store import ResultStore
from tests.studies.stores import attempt


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is put on the page."""
    shown: list[Any] = []
    monkeypatch.setattr(notebook, "display", shown.append)
    return shown


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    """Two stores that name a trial alike."""
    places = [str(tmp_path / name) for name in ("one", "two")]
    for study, place in zip(("first", "second"), places, strict=True):
        store = ResultStore(place, create=True)
        attempt(store, "t0", {1: 40.0, 2: 50.0}, study=study, clips=3)
        attempt(store, "t1", {1: 30.0}, "pruned", study=study)
    return places


def test_stores_are_joined_and_rows_know_theirs(two: list[str]) -> None:
    results = Results(" ".join(two))
    assert results.trials()[["store", "study", "trial_id"]].values.tolist() == [
        [two[0], "first", "t0"],
        [two[0], "first", "t1"],
        [two[1], "second", "t0"],
        [two[1], "second", "t1"],
    ]
    assert len(results.epochs()) == 6 and results.problems() == []
    trial = results.trials().iloc[2]
    predictions = results.predictions(trial)
    assert set(predictions.study) == {"second"} and len(predictions) == 3
    assert results.regulation().empty


def test_studies_are_chosen_by_name(two: list[str]) -> None:
    assert set(Results(" ".join(two), "second").trials().study) == {"second"}
    with pytest.raises(ConfigError, match="no store has 'secnd' — did you mean 'second'"):
        Results(" ".join(two), "secnd")


def test_without_names_the_environment_and_then_the_usual_places_count(
    two: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="run `make sweep` first"):
        Results(root=tmp_path)
    Path(two[0]).rename(tmp_path / "sweep")
    (tmp_path / "runs").mkdir()
    (tmp_path / "sweep").rename(tmp_path / "runs" / "sweep")
    assert [store.uri for store in Results(root=tmp_path).stores] == [str(tmp_path / "runs" / "sweep")]
    monkeypatch.setenv("SEFAR_STORES", "two")
    assert [store.uri for store in Results(root=tmp_path).stores] == [two[1]]


def test_a_figure_or_the_sentence_that_says_why_there_is_none(page: list[Any]) -> None:
    def draw(width: float) -> Figure:
        if width < 1:
            raise NothingToDraw("no trial has finished; wait")
        return new_figure(width, 2)

    show(draw, 3.0, alt="three inches")
    show(draw, 0.5, alt="none")
    assert page[0].data.startswith(b"\x89PNG") and page[0].alt == "three inches" and page[0].width == 330
    assert page[1].data == "*No figure: no trial has finished; wait*"


def test_tables_show_nothing_where_nothing_is_known(page: list[Any]) -> None:
    table(pd.DataFrame({"a|b": ["x|y", None], "value": [1.26, float("nan")], "n": [1, 2]}))
    assert page[0].data.split("\n") == [
        "| a\\|b | value | n |",
        "| --- | --- | --- |",
        "| x\\|y | 1.3 | 1 |",
        "|  |  | 2 |",
    ]


def test_flags_in_sentences_are_code(page: list[Any]) -> None:
    bullets(["use --confirm 3, or more --seeds", "a well-known `--x`"])
    assert page[0].data == "- use `--confirm 3`, or more `--seeds`\n- a well-known `--x`"
