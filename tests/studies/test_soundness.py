"""What speaks against a study."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from studies.results.soundness import doubts, status_counts

SCOPE = "synthgym/core@1pc#0"


def row(number: int, role: str, **more: object) -> dict:
    return {
        "study": "st",
        "trial_id": f"t{number}",
        "scope": SCOPE,
        "role": role,
        "stage": "search",
        "status": "finished",
        "error": None,
        "split_hash": "abc",
        "train_seed": 0,
        "missing_labelled": 0,
        "missing_unlabelled": 0,
        "missing_dev": 0,
        "missing_test": 0,
        "commit": "c1",
        "sefar_version": "0.1",
        "torch_version": "2.11",
        "device": "cpu",
        "best_epoch": 2,
        "epochs_planned": 4,
        "test_student_top1": np.nan,
        "seconds": 1800.0,
        "accelerator_seconds": 900.0,
    } | more


SOUND = [
    row(0, "default", stage="confirm", train_seed=0),
    row(1, "default", stage="confirm", train_seed=1),
    row(2, "supervised", stage="confirm", train_seed=2),
]


def texts(rows: list[dict]) -> list[str]:
    return [doubt.text for doubt in doubts(pd.DataFrame(rows))]


def test_a_sound_study_raises_no_doubt() -> None:
    assert texts(SOUND) == []


@pytest.mark.parametrize(
    ("change", "said", "grave"),
    [
        (
            {"status": "failed", "error": "clips/a.mp4: broken"},
            "1 trial of 3 failed, the first (t2) with: clips/a",
            True,
        ),
        ({"status": "running"}, "1 trial had not ended", False),
        ({"split_hash": "other"}, "core@1pc was split in 2 different ways", True),
        ({"missing_test": 3}, "core@1pc ran without clips that were missing or broken: 3 test", False),
        ({"torch_version": "2.12"}, "2 different values of torch_version: 2.11, 2.12", False),
        ({"role": "search"}, "core@1pc has no finished supervised baseline to compare with", True),
    ],
)
def test_each_fault_is_told(change: dict, said: str, grave: bool) -> None:
    found = doubts(pd.DataFrame([*SOUND[:2], SOUND[2] | change]))
    (one,) = [doubt for doubt in found if said in doubt.text]
    assert one.grave == grave and one.study == "st"


def test_one_seed_on_one_split_proves_nothing() -> None:
    rows = [row(0, "default"), row(1, "supervised")]
    (text,) = texts(rows)
    assert text.startswith("core@1pc: one training seed on one label split")
    two = [*rows, row(2, "default", scope="synthgym/core@1pc#1"), row(3, "supervised", scope="synthgym/core@1pc#1")]
    assert texts(two) == ["core@1pc: 2 seeds or label splits are few; intervals will be wide"]


def test_trials_best_in_their_last_epoch_were_stopped_too_soon() -> None:
    rows = [r | {"best_epoch": 4} for r in SOUND[:2]] + SOUND[2:]
    assert texts(rows) == [
        "core@1pc: 2 of 3 finished trials were best in their last epoch; longer training may change the order"
    ]


def test_test_clips_seen_by_a_whole_search_are_told() -> None:
    rows = [row(n, role, test_student_top1=1.0) for n, role in enumerate(["default", "supervised", "search"])]
    assert any(text.startswith("3 trials of the search were evaluated on the test clips") for text in texts(rows))


def test_what_reading_skipped_comes_first() -> None:
    found = doubts(pd.DataFrame([row(0, "default"), row(1, "supervised")]), ["store/x.parquet: torn"])
    assert found[0].text == "skipped: store/x.parquet: torn" and found[0].grave


def test_counts_and_hours() -> None:
    table = status_counts(pd.DataFrame([row(0, "default"), row(1, "search", status="pruned")]))
    assert table.to_dict("records") == [
        {
            "study": "st",
            "scope": "core@1pc",
            "trials": 2,
            "finished": 1,
            "pruned": 1,
            "failed": 0,
            "running": 0,
            "hours": 1.0,
            "accelerator_hours": 0.5,
        }
    ]
