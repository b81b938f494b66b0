"""The page of a study: what it says of finished, running, failing and small studies, and that it is whole in itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sefar.errors import ConfigError, DataError
from studies.results.report import write_report
from studies.results.report.facts import cost_sentence
from studies.results.report.parts import Column, Row, Table, ident, listed, number, text
from studies.results.report.study import StudyView
from studies.results.store import ResultStore
from tests.studies.report_pages import Elements, ablation, add, page_of, row

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample_store"


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(str(tmp_path / "store"), create=True)


def test_answers_of_an_ablation_carry_their_uncertainty(store: ResultStore, tmp_path: Path) -> None:
    ablation(store, [-4.0, -5.0, -6.0, -5.0, -4.5, -5.5, -5.0, -4.0])
    page = page_of(store, "ab", tmp_path, figures=False)
    # t = 4.875 / (0.694 / √8) = 19.9 with 7 degrees of freedom
    said = (
        r"Arm dual costs 4\.9(?: ± 0\.\d)? points against SeFAR \(95 % interval 4\.\d to 5\.\d, 8 pairs\) at core@1pc\."
    )
    assert re.search(said, page.text) and "< 0.001 < 0.001" in page.text
    assert "runs a method and scope" not in page.text  # eight are enough
    assert "16 trials: 16 finished" in page.text
    assert "16 trials took 16.0 minutes of trial time and no accelerator." in page.text


def test_one_run_is_not_dressed_up(store: ResultStore, tmp_path: Path) -> None:
    ablation(store, [2.0])
    page = page_of(store, "ab", tmp_path, figures=False)
    assert (
        "Arm dual differs by +2.0 points against SeFAR (1 pair) at core@1pc, but how surely cannot be said" in page.text
    )
    assert "One run only of SeFAR, dual: nothing tells its spread, so no interval is given." in page.text


def test_an_ablation_of_another_recipe_has_its_own_reference(store: ResultStore, tmp_path: Path) -> None:
    for seed in range(3):
        scope = f"synthgym/core@1pc#{seed}"
        add(store, "ab", f"r{seed}", scope, row("components/regulation", seed, test_student_top1=70.0 + seed))
        add(store, "ab", f"a{seed}", scope, row("components/none", seed, test_student_top1=60.0 + 2 * seed))
    page = page_of(store, "ab", tmp_path, figures=False)
    # differences −10, −9, −8
    assert re.search(r"Arm none costs 9\.0(?: ± \d\.\d)? points against regulation \(95 % interval ", page.text)
    # t = 9 √3 with 2 degrees of freedom: three seeds can tell
    assert "0.004 0.004" in page.text and "does not stand among several comparisons" not in page.text


def test_a_running_study_says_so(store: ResultStore, tmp_path: Path) -> None:
    scope, space = "synthgym/core@1pc#0", {"space_hash": "s", "planned": 6}
    add(store, "sw", "t0", scope, row("default", 0, **space, dev_student_top1=61.0))
    add(store, "sw", "t1", scope, row("search", 1, **space, status="running", epochs_done=1, dev_student_top1=70.0))
    add(
        store,
        "sw",
        "t2",
        scope,
        row("search", 2, **space, status="failed", error="clip <b>x</b> is torn", log="l/2.log"),
    )
    add(store, "sw", "t3", scope, row("search", 3, **space, status="pruned", epochs_done=2, dev_student_top1=40.0))
    page = page_of(store, "sw", tmp_path, figures=False)
    assert "4 trials: 1 finished, 1 running, 1 failed, 1 pruned; 2 not started yet" in page.text
    assert "1 trial is still running: every number here may change." in page.text
    assert "2 planned trials of the search have not started." in page.text
    assert "of 1 finished trial, best on dev is trial 000 (paper's default) with 61.0 %." in page.text
    assert "1 trial failed, the first with: clip <b>x</b> is torn." in page.text
    assert "b" not in {tag for tag, _ in page.tags}  # what a store says is text, never markup
    assert "No finished trial was evaluated on the test clips" in page.text
    assert "2.0 minutes went into trials that were pruned or failed." in page.text
    assert "l/2.log" in page.text


def test_nothing_has_finished(store: ResultStore, tmp_path: Path) -> None:
    add(store, "sw", "t0", "synthgym/core@1pc#0", row("default", 0, space_hash="s", status="running", epochs_done=0))
    page = page_of(store, "sw", tmp_path)
    assert "On core@1pc no trial has finished." in page.text
    assert page.text.count("No figure:") >= 5  # a sentence for each figure, none of them a failure
    assert "drawing it failed" not in page.text


def test_what_may_not_be_compared_is_named(store: ResultStore, tmp_path: Path) -> None:
    ablation(store, [1.0, 2.0])
    again = row("components/dual", 1, test_student_top1=70.0, split_hash="other", commit="a" * 40 + "+")
    add(store, "ab", "again", "synthgym/core@1pc#1", again | {"missing_test": 3, "notes": "started anew"})
    page = page_of(store, "ab", tmp_path, figures=False)
    assert "Several runs of one seed and label split: dual (synthgym/core@1pc). Nothing of its scope" in page.text
    assert "The clips of synthgym/core@1pc#1 changed between trials (2 split hashes)" in page.text
    assert "Clips were absent or quarantined and left out, at most in a trial: 3 test." in page.text
    assert "1 trial met something on the way, the first: started anew." in page.text
    assert "Code that was not committed ran" in page.text
    assert "5 trials finished, but several are of one method, seed and label split: dual (synthgym/core" in page.text


def test_torn_files_are_listed(store: ResultStore, tmp_path: Path) -> None:
    ablation(store, [1.0, 2.0])
    torn = next((tmp_path / "store" / "trials").rglob("a1-*.parquet"))
    torn.write_bytes(torn.read_bytes()[:100])
    page = page_of(store, "ab", tmp_path, figures=False)
    assert "1 file of the store could not be read" in page.text
    assert "Files that could not be read:" in page.text and "a1-a1.parquet" in page.text


def test_unknown_study_and_unwritable_path(store: ResultStore, tmp_path: Path) -> None:
    ablation(store, [1.0])
    with pytest.raises(ConfigError, match=r"has no study 'abb' — did you mean 'ab'\?"):
        write_report(store, "abb", tmp_path / "x.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="the report cannot be written"):
        write_report(store, "ab", tmp_path / "file" / "x.html", figures=False)


def test_parts() -> None:
    assert ident("board", "synthgym/core@1pc#0") == "board-synthgym-core-1pc-0"
    assert (number(1.25, signed=True).text, number(1.25).sort) == ("+1.2", "1.25")
    assert number(float("nan")).sort == number(None).text == text(None).text == ""
    assert text("x" * 50).long == "" and text("word " * 100).long.startswith("word word")
    assert listed(range(8), 4) == "0, 1, 2 and 5 more"
    with pytest.raises(ValueError, match="t: expected 1 cells in a row, got 2"):
        Table("t", "t", [Column("a")], [Row([number(1), number(2)])])


def test_cost_sentence(store: ResultStore) -> None:
    ablation(store, [1.0])
    trials = StudyView(store, "ab").trials.assign(seconds=5400.0, accelerator_seconds=5400.0)
    assert cost_sentence(trials) == "2 trials took 3.0 hours of trial time and 3.0 hours of accelerators."


@pytest.mark.slow
@pytest.mark.parametrize("study", ["sweep", "label_efficiency", "ablation"])
def test_pages_of_the_sample_store_are_whole_in_themselves(study: str, tmp_path: Path) -> None:
    store = ResultStore(str(SAMPLE))
    path = write_report(store, study, tmp_path / "page.html")
    html = path.read_text("utf-8")
    page = Elements(html)
    assert path.stat().st_size < 6e6
    assert "drawing it failed" not in page.text
    assert len(page.idents) == len(set(page.idents))
    links = [str(attrs["href"]) for tag, attrs in page.tags if tag == "a"]
    assert links and {link.removeprefix("#") for link in links} <= set(page.idents)
    sources = [str(attrs["src"]) for tag, attrs in page.tags if "src" in attrs]
    assert len(sources) >= 4 and all(source.startswith("data:image/") for source in sources)
    assert not {
        tag for tag, attrs in page.tags if tag in ("link", "iframe", "object") and attrs.get("href") != "data:,"
    }
    assert "://" not in re.sub(r"data:image/[^\"]+", "", html)
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    # every trial of the study stands on the page with its parameters
    trials = store.trials(study=study)
    assert {f"trial-{re.sub('[^A-Za-z0-9]+', '-', name)}" for name in trials.trial_id} <= set(page.idents)
    assert json.loads(trials.parameters.iloc[-1]) is not None
    assert trials.commit.iloc[0][:40] in page.text
    # the same store gives the same page, but for the moment it was made
    moment = re.compile(r"Made by sefar from .* UTC\.")
    again = write_report(store, study, tmp_path / "again.html").read_text("utf-8")
    assert moment.sub("", again) == moment.sub("", html)
