"""Pages of studies that are uneven, untested, too large or of several recipes: nothing false, and always a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from studies.results.figures.forest import UNCLEAR, difference_row
from studies.results.report import boards, pictures, shown
from studies.results.report.pictures import drawings
from studies.results.report.study import StudyView
from studies.results.store import ResultStore
from tests.studies.report_pages import ablation, add, page_of, row

SCOPE = "synthgym/core@1pc#0"
SEARCH = {"space_hash": "s", "planned": 4}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(str(tmp_path / "store"), create=True)


def test_trials_that_tie_on_dev_are_all_named(store: ResultStore, tmp_path: Path) -> None:
    for number, (role, dev) in enumerate(
        (("default", 61.0), ("supervised", 64.25), ("search", 64.25), ("search", 50.0))
    ):
        add(store, "sw", f"t{number}", SCOPE, row(role, number, **SEARCH, dev_student_top1=dev))
    page = page_of(store, "sw", tmp_path, figures=False)
    assert (
        "On core@1pc, of 4 finished trials, 2 are equally good on dev with 64.2 %: trial 001 (supervised baseline), "
        "trial 002 (search); the paper's default has 61.0 %."
    ) in page.text
    kinds = [attrs.get("class") for tag, attrs in page.tags if tag == "tr"]
    assert kinds.count("best") == 2
    assert re.search(r"1 001 64\.2 .* 1 002 64\.2 .* 3 000 61\.0 .* 4 003 50\.0", page.text)  # the rank is shared


def test_methods_are_ordered_over_runs_that_all_have(store: ResultStore, tmp_path: Path) -> None:
    for seed, (reference, dual) in enumerate(((40.0, 50.0), (70.0, 20.0), (70.0, 20.0))):
        for role, dev in (("reference", reference), ("components/dual", dual)):
            values = row(role, seed, test_student_top1=60.0, dev_student_top1=dev)
            add(store, "ab", f"{role[:1]}{seed}", f"synthgym/core@1pc#{seed}", values)
    late = row("components/late", 0, test_student_top1=70.0, dev_student_top1=49.0)  # on the one easy seed
    add(store, "ab", "late", SCOPE, late)
    page = page_of(store, "ab", tmp_path, figures=False)
    note = "Order of the rows: chosen on dev over the one run that each has in common with the others; 4 further runs"
    assert note in page.text
    rows = re.search(r"components on synthgym/core@1pc (.*) Order of the rows", page.text)
    # on seed 0 late has 49, the reference 40 and dual 50; over all their runs these have 60 and 30
    assert rows and re.search(r" dual 3 30\.0 .* late 1 49\.0 .* SeFAR 3 60\.0 ", rows[1])


def references(store: ResultStore) -> None:
    """An ablation whose reference was run with 4 and with 8 epochs, under one name, on the same seeds."""
    for seed in range(2):
        for epochs, test in ((4, 50.0), (8, 70.0)):
            settings: dict[str, Any] = {
                "config.optim.epochs": epochs,
                "config.seed": seed,
                "config.scope.root": f"/{epochs}",
            }
            values = row("reference", seed, test_student_top1=test + seed, **settings)
            add(store, "ab", f"r{epochs}-{seed}", f"synthgym/core@1pc#{seed}", values)
        arm = row("components/dual", seed, test_student_top1=60.0, **{"config.optim.epochs": 4})
        add(store, "ab", f"a{seed}", f"synthgym/core@1pc#{seed}", arm)


def test_several_references_are_told_apart_and_not_averaged(store: ResultStore, tmp_path: Path) -> None:
    references(store)
    page = page_of(store, "ab", tmp_path)
    assert (
        "The study holds several different references (SeFAR) at core@1pc: they differ in optim.epochs (4, 8). They "
        "are not averaged, and nothing is compared with them; give each recipe a study of its own (--name)."
    ) in page.text
    assert "no two methods share" not in page.text
    assert "SeFAR [optim.epochs 4] 2 50.0 50.5" in page.text and "SeFAR [optim.epochs 8] 2 50.0 70.5" in page.text
    assert "60.5" not in page.text  # their mean
    assert (
        "No figure: runs of SeFAR at synthgym/core@1pc differ in optim.epochs (4, 8) and cannot be added up"
        in page.text
    )
    assert "drawing it failed" not in page.text


def test_references_of_other_seeds_are_said_to_be_taken_for_one(store: ResultStore, tmp_path: Path) -> None:
    for seed, epochs in enumerate((4, 4, 8)):
        for role in ("reference", "components/dual"):
            values = row(role, seed, test_student_top1=60.0 + seed * len(role), **{"config.optim.epochs": epochs})
            add(store, "ab", f"{role[:1]}{seed}", f"synthgym/core@1pc#{seed}", values)
    page = page_of(store, "ab", tmp_path, figures=False)
    assert "in optim.epochs (4, 8). They are not averaged, but differences take them for one;" in page.text
    assert "The runs of 1 method differ in more than their seeds: dual in optim.epochs (4, 8) at core@1pc." in page.text


def test_settings_that_cannot_change_a_result_are_no_difference(store: ResultStore, tmp_path: Path) -> None:
    for seed in range(2):
        settings: dict[str, Any] = {"config.optim.epochs": 4, "config.seed": seed, "config.loader.workers": seed}
        settings |= {"config.scope.root": f"/{seed}", "config.scope.name": f"synthgym/core@1pc#{seed}"}
        values = row("reference", seed, test_student_top1=60.0 + seed, **settings)
        add(store, "ab", f"r{seed}", f"synthgym/core@1pc#{seed}", values)
    page = page_of(store, "ab", tmp_path, figures=False)
    assert "SeFAR 2 50.0 60.5" in page.text and "differ in" not in page.text
    assert "2 trials finished, but of one method only: there is nothing to compare it with." in page.text


def test_finished_and_untested_is_not_unfinished(store: ResultStore, tmp_path: Path) -> None:
    for number, role in enumerate(("reference", "components/dual")):
        add(store, "ab", role.replace("/", "-"), SCOPE, row(role, number))
    page = page_of(store, "ab", tmp_path)
    assert "2 trials: 2 finished" in page.text
    assert "No trial has finished" not in page.text and "drawing it failed" not in page.text
    assert "2 trials finished, but none was evaluated on the test clips: no methods are ranked." in page.text
    assert "2 trials finished, but none was evaluated on the test clips, and accuracies on dev are not" in page.text


@pytest.mark.parametrize("study", ["search", "confirm", "grid"])
def test_without_any_accuracy_on_dev_there_is_a_page(study: str, store: ResultStore, tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"dev_student_top1": None, "test_student_top1": 60.0}
    if study == "grid":
        for number, role in enumerate(("sefar @1pc", "fixmatch τ=0.5 @1pc")):
            add(store, "s", f"g{number}", SCOPE, row(role, number, **nothing))
    else:
        for number in range(3):
            add(store, "s", f"t{number}", SCOPE, row("search", number, **SEARCH, **nothing))
    if study == "confirm":
        for seed in range(2):
            add(
                store,
                "s",
                f"c{seed}",
                SCOPE,
                row("search", seed, **SEARCH | nothing, confirms="t0") | {"stage": "confirm"},
            )
    page = page_of(store, "s", tmp_path)
    assert "drawing it failed" not in page.text
    assert ("none has an accuracy on dev." in page.text) == (study != "grid")


def test_of_too_many_trials_links_lead_to_those_that_stand_there(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "MOST_TRIALS", 4)
    for number in range(6):
        for scope in (SCOPE, "synthgym/core@3pc#0"):
            values = row("search", number, **SEARCH, dev_student_top1=50.0 + number)
            add(store, "sw", f"t{number}-{scope[14:17]}", scope, values)
    page = page_of(store, "sw", tmp_path, figures=False)
    links = {str(attrs["href"]).removeprefix("#") for tag, attrs in page.tags if tag == "a"}
    assert links <= set(page.idents)
    assert {link for link in links if link.startswith("trial-")} == {
        "trial-t5-1pc", "trial-t4-1pc", "trial-t5-3pc", "trial-t4-3pc"
    }  # fmt: skip
    assert "6 trials on core@1pc" in page.text and "The page shows the first 2 of them." in page.text
    assert "8 more trials are in the store; the page shows those that rank first." in page.text


def test_regulation_is_drawn_of_runs_that_are_alike(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    slopes = {"config.weighting.alpha": 2.0, "config.weighting.kappa": 5.0, "config.weighting.kind": "adaptive"}
    for labels, clips in (("10pc", 120), ("1pc", 12), ("25pc", 300), ("3pc", 36)):
        for seed in range(2):
            for role in ("sefar", "supervised", "fixmatch τ=0.5"):
                values = row(f"{role} @{labels}", seed, test_student_top1=60.0, labelled_clips=clips, **slopes)
                add(store, "le", f"{role[:2]}{labels}{seed}", f"synthgym/core@{labels}#{seed}", values)
    view = StudyView(store, "le")
    view.__dict__["regulation"] = pd.DataFrame({"trial_id": view.trials.trial_id})
    drawn = []
    monkeypatch.setattr(pictures, "draw_regulation", lambda rows, **slopes: drawn.append((set(rows.trial_id), slopes)))
    found = [drawing for drawing in drawings(view) if drawing.name.startswith("regulation")]
    assert [drawing.name for drawing in found] == [f"regulation-synthgym/core@{f}" for f in ("1pc", "3pc", "10pc")]
    for drawing in found:
        drawing.draw()
    assert drawn[0] == ({"se1pc0", "se1pc1"}, {"alpha": 2.0, "kappa": 5.0})
    assert [sorted(ids) for ids, _ in drawn[1:]] == [["se3pc0", "se3pc1"], ["se10pc0", "se10pc1"]]


def test_regulation_of_a_sweep_is_the_default_s_and_says_what_is_not_recorded(store: ResultStore) -> None:
    for number, role in enumerate(("default", "search", "supervised")):
        add(store, "sw", role, SCOPE, row(role, number, **SEARCH))
    (alike,) = shown.regulated(StudyView(store, "sw"))
    assert alike.trial_ids == ("default",) and (alike.alpha, alike.kappa) == (1.0, 20.0)
    assert alike.note == "α and κ are not recorded and drawn as by default"


def test_picture_and_sentence_agree_on_what_is_left_after_holm(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ablation(store, [1.0, 2.0, 1.5, 0.2])
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(pictures, "draw_forest", lambda rows, **named: drawn.update(rows=rows, **named))
    view = StudyView(store, "ab")
    object.__setattr__(view.comparisons[0], "adjusted_p", 0.4)
    (forest,) = [drawing for drawing in drawings(view) if drawing.name == "differences"]
    forest.draw()
    ((label, paired),) = drawn["rows"].items()
    assert drawn["adjusted_p"] == {label: 0.4} and label == "components: dual − SeFAR, core@1pc"
    assert difference_row(label, paired, drawn["adjusted_p"][label]).look is UNCLEAR


def test_the_leaderboard_reads_predictions_of_the_trials_it_shows(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "TOP", 2)
    for number in range(5):
        role = "supervised" if number == 0 else "search"
        test = None if number == 4 else 50.0
        values = row(role, number, **SEARCH, dev_student_top1=50.0 + number, test_student_top1=test)
        add(store, "sw", f"t{number}", SCOPE, values)
    view = StudyView(store, "sw")
    monkeypatch.setattr(view, "predictions", lambda trial: pd.DataFrame({"trial_id": [trial]}))
    found = shown.shown_predictions(view, [SCOPE])
    assert found is not None and list(found.trial_id) == ["t3", "t2", "t0"]  # t4 was not tested
    add(store, "sw", "c", SCOPE, row("search", 1, **SEARCH, confirms="t3") | {"stage": "confirm"})
    assert shown.shown_predictions(StudyView(store, "sw"), [SCOPE]) is None


def test_strengths_are_drawn_of_what_was_searched(store: ResultStore) -> None:
    add(store, "sw", "d", SCOPE, row("default", 0, **SEARCH))
    assert "strengths" in [drawing.name for drawing in drawings(StudyView(store, "sw"))]
