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
    results = Results(two)
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
    assert set(Results(two, ["second"]).trials().study) == {"second"}
    with pytest.raises(ConfigError, match="no store has 'secnd' — did you mean 'second'"):
        Results(two, ["secnd"])


def test_studies_of_one_name_are_told_apart(two: list[str], tmp_path: Path) -> None:
    """Their trials have equal ids, and are other trials."""
    other = ResultStore(str(tmp_path / "a place with blanks"), create=True)
    attempt(other, "t0", {1: 90.0}, study="first", clips=2, scope="synthgym/core@3pc#0")
    results = Results([two[0], other.uri])
    trials = results.trials()
    assert trials[["study", "trial_id"]].values.tolist() == [["first", "t0"], ["first", "t1"], ["first (2)", "t0"]]
    assert [len(results.predictions(trial)) for _, trial in trials.iterrows()] == [3, 0, 2]
    assert results.scores()[["study", "dev_student_top1"]].values.tolist() == [["first", 50.0], ["first (2)", 90.0]]
    assert set(Results([two[0], other.uri], ["first (2)"]).epochs().study) == {"first (2)"}


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
    bullets(["use --confirm 3, or more --seeds", "a well-known thing"])
    assert page[0].data == "- use `--confirm 3`, or more `--seeds`\n- a well-known thing"


def test_texts_from_a_store_are_shown_as_they_are(page: list[Any]) -> None:
    bullets(["list.csv:17: expected '<path> <label>', got '*a_b*'\n\n# no heading"])
    (shown,) = page
    assert shown.data == r"- list.csv:17: expected '&lt;path&gt; &lt;label&gt;', got '\*a\_b\*' # no heading"
