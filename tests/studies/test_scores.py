"""Trials as scores of methods, and the paper's numbers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from studies.results.published import COLUMNS as PUBLISHED_COLUMNS
from studies.results.published import TABLES, published
from studies.results.scores import COLUMNS, fraction_order, fraction_text, tidy_scores
from studies.results.stats.bootstrap import paired_difference

DROP = {"perturb.kind": "drop", "weighting.kind": "fixed", "weighting.threshold": 0.8}


def trial(trial_id: str, role: str, *, scope: str = "synthgym/core@1pc#0", number: int = 0, **more: object) -> dict:
    return {
        "study": "s",
        "trial_id": trial_id,
        "stage": "search",
        "role": role,
        "confirms": None,
        "status": "finished",
        "scope": scope,
        "number": number,
        "train_seed": 0,
        "labelled_clips": 12,
        "dev_student_top1": 70.0,
        "test_student_top1": 68.0,
        "test_teacher_top1": np.nan,
        "seconds": 10.0,
        "accelerator_seconds": 0.0,
        "parameters": json.dumps(DROP if role == "search" else {}),
    } | more


def methods(*rows: dict) -> list[str]:
    return tidy_scores(pd.DataFrame(list(rows))).method.tolist()


def test_columns_and_the_parts_of_the_scope() -> None:
    table = tidy_scores(pd.DataFrame([trial("a", "default", scope="synthgym/event:FX@0.05#3", train_seed=2)]))
    assert table.columns.tolist() == COLUMNS
    first = table.iloc[0]
    assert first.base_scope == "synthgym/event:FX@0.05" and first.subset == "synthgym/event:FX"
    assert first.fraction == "0.05" and first.split_seed == 3 and first.train_seed == 2
    assert first.labelled_clips == 12 and first.test_student_top1 == 68 and first.stage == "search"


def test_methods_of_sweeps() -> None:
    assert methods(trial("a", "default"), trial("b", "supervised"), trial("c", "search", number=4)) == [
        "SeFAR",
        "supervised",
        "trial 004: drop · fixed τ 0.8",
    ]
    assert methods(trial("c", "transfer", number=5)) == ["trial 005"]


def test_a_confirm_trial_bears_the_name_of_what_it_repeats() -> None:
    rows = [trial("c", "search", number=4), trial("d", "search", number=10_001, stage="confirm", confirms="c")]
    assert methods(*rows) == ["trial 004: drop · fixed τ 0.8"] * 2
    assert methods(rows[1]) == ["trial c: drop · fixed τ 0.8"]
    assert methods(trial("e", "default", stage="confirm", confirms="")) == ["SeFAR"]


def test_methods_of_grids_and_ablations() -> None:
    assert methods(
        trial("a", "sefar @1pc"),
        trial("b", "supervised @all", scope="synthgym/core@1#0"),
        trial("c", "fixmatch τ=0.5 @1pc"),
    ) == ["SeFAR", "supervised", "fixmatch τ=0.5"]
    assert methods(trial("a", "reference"), trial("b", "thresholds/flexmatch")) == ["SeFAR", "flexmatch"]
    # both ablations have an arm of this name
    assert methods(
        trial("a", "components/none"), trial("b", "perturbations/none"), trial("c", "perturbations/drop")
    ) == [
        "components/none",
        "perturbations/none",
        "drop",
    ]


def test_only_finished_trials_count() -> None:
    rows = [trial("a", "default", status=status) for status in ("running", "pruned", "failed")]
    assert tidy_scores(pd.DataFrame(rows)).empty
    assert tidy_scores(pd.DataFrame(rows)).columns.tolist() == COLUMNS


def test_old_stores_lack_columns() -> None:
    rows = pd.DataFrame([trial("a", "sefar @1pc", number=2, train_seed=np.nan), trial("b", "default", number=3)])
    table = tidy_scores(rows.drop(columns=["labelled_clips", "accelerator_seconds", "stage", "confirms"]))
    assert table.labelled_clips.isna().all() and table.train_seed.tolist() == [2, 0]
    assert table.stage.tolist() == ["search", "search"]


@pytest.mark.parametrize(
    ("scope", "fraction"),
    [
        ("synthgym/core@1pc#0", "1pc"),
        ("synthgym/core@0.05", "0.05"),
        ("synthgym/core@1#2", "1"),
        ("finegym/gym99", "1"),
        ("finegym/gym99#3", "1"),
        ("folders:clips@home/x@0.1#0", "0.1"),
        ("lists:/data/gym@5pc", ""),
    ],
)
def test_fractions_are_as_the_scope_writes_them(scope: str, fraction: str) -> None:
    assert fraction_text(scope) == fraction
    assert tidy_scores(pd.DataFrame([trial("a", "default", scope=scope)])).fraction.item() == fraction


def test_fractions_rise() -> None:
    assert sorted(["1", "0.1", "10pc", "", "2pc", "0.05"], key=fraction_order) == [
        "2pc",
        "10pc",
        "0.05",
        "0.1",
        "1",
        "",
    ]


def test_scores_are_what_paired_differences_take() -> None:
    rows = [trial(f"a{s}", "default", scope=f"synthgym/core@1pc#{s}", test_student_top1=70.0 + s) for s in range(3)]
    rows += [trial(f"b{s}", "supervised", scope=f"synthgym/core@1pc#{s}", test_student_top1=60.0) for s in range(3)]
    found = paired_difference(tidy_scores(pd.DataFrame(rows)), "SeFAR", "supervised")
    assert found.pairs == 3 and found.interval.value == 11


def one(table: str, method: str, data_set: str, fraction: str) -> float:
    rows = published(table).query("method == @method and data_set == @data_set and fraction == @fraction")
    return float(rows.value.item())


def test_the_papers_numbers_are_those_of_the_method_page() -> None:
    assert one("main", "SeFAR-B", "Gym99", "0.1") == 56.9 and one("main", "SeFAR-S", "UCF101", "0.01") == 46.0
    assert one("main", "SeFAR-S", "HMDB51", "0.5") == 62.9 and one("main", "SeFAR-B", "5253B", "0.2") == 97.8
    assert one("regulation", "with", "FineDiving", "0.07") == 74.6
    assert one("regulation", "without", "FineDiving", "0.01") == 61.5
    assert one("components", "dual", "Gym288", "0.05") == 25.4
    assert one("perturbations", "half", "FineDiving", "0.05") == 68.4
    assert one("passes", "s20", "Gym99", "0.05") == 37.0 and one("mllm", "SeFAR", "Gym-QA-288", "") == 56.2


def test_published_tables_are_whole() -> None:
    sizes = published().groupby("table").size().to_dict()
    assert sizes == {"main": 46, "regulation": 10, "components": 12, "perturbations": 24, "passes": 15, "mllm": 8}
    assert set(sizes) == set(TABLES) and published().columns.tolist() == PUBLISHED_COLUMNS
    assert not published().duplicated(["table", "data_set", "fraction", "method"]).any()
    # the paper's own method is the same number wherever it stands
    for data_set in ("Gym99", "Gym288", "FineDiving"):
        same = {one("main", "SeFAR-S", data_set, "0.05"), one("components", "regulation", data_set, "0.05")}
        assert same == {one("perturbations", "reverse_fine", data_set, "0.05")}
    with pytest.raises(ValueError, match=r"expected one of main, regulation, .*, got 'table 4'"):
        published("table 4")
