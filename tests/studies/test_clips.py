"""Clips to look at, and what they were taken for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from studies.results.clips import strips_of
from studies.results.mistakes import confused_pairs, mistakes
from tests.data.awkward_videos import encode, read_numbers

NAMES, SETS = ["salto", "turn", "split"], ["flight", "spin", "flight"]


def rows(said: list[int], label: list[int], root: str, confidence: list[float] | None = None) -> pd.DataFrame:
    clips = range(len(said))
    return pd.DataFrame(
        {
            "part": "test",
            "trial_id": "t",
            "clip_id": [f"c{i}" for i in clips],
            "path": [f"{root}/set/c{i}.mp4" for i in clips],
            "start_frame": 10,
            "end_frame": 24,
            "label": label,
            "label_name": [NAMES[k] for k in label],
            "set": [SETS[k] for k in label],
            "group": "g",
            "student_top5": [[k, 0, 1] for k in said],
            "teacher_top5": [[k, 0, 1] for k in said],
            "confidence": confidence or [0.5] * len(said),
        }
    )


def trial(root: str) -> pd.Series:
    return pd.Series({"trial_id": "t", "config_json": json.dumps({"scope": {"root": root}})})


LABEL = [0, 0, 1, 2]
MINE, BASE = [0, 0, 1, 0], [1, 1, 2, 2]  # gained c0, c1, c2; lost c3


def test_clips_gained_and_lost_come_with_their_frames_and_words(tmp_path: Path) -> None:
    root = str(tmp_path)
    (tmp_path / "set").mkdir()
    for number in range(4):
        encode(tmp_path / "set" / f"c{number}.mp4", 30)
    mine = rows(MINE, LABEL, root, [0.2, 0.9, 0.1, 0.5])
    found = strips_of(mine, rows(BASE, LABEL, root), trial(root), root, most=2)
    gained, lost = found.gained, found.lost
    assert found.absent == 0 and found.counts == (3, 1)
    assert [caption for caption, _ in gained] == [
        "salto: said salto, the second trial turn",  # c1, the surer one of its class
        "turn: said turn, the second trial split",
    ]
    assert [caption for caption, _ in lost] == ["split: said salto, the second trial split"]
    assert gained[0][1].dtype == np.uint8
    assert read_numbers(gained[0][1]) == [10, 12, 14, 16, 17, 19, 21, 23]  # the window from end to end


def test_clips_are_found_below_another_root(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    encode(tmp_path / "set" / "c3.mp4", 30)
    there = "/cluster/data"
    found = strips_of(rows(MINE, LABEL, there), rows(BASE, LABEL, there), trial(there), str(tmp_path))
    assert found.gained == [] and len(found.lost) == 1 and found.absent == 3


def test_mistakes_by_name_and_set() -> None:
    wrong = mistakes(rows(BASE, LABEL, "/r"))
    assert wrong.clip_id.tolist() == ["c0", "c1", "c2"]
    assert wrong["true"].tolist() == ["salto", "salto", "turn"] and wrong.said.tolist() == ["turn", "turn", "split"]
    assert wrong.within_set.tolist() == [False, False, False]
    assert mistakes(rows([2, 0, 1, 2], LABEL, "/r")).within_set.tolist() == [True]
    assert confused_pairs(wrong).to_dict("records") == [
        {"true": "salto", "said": "turn", "clips": 2},
        {"true": "turn", "said": "split", "clips": 1},
    ]
    assert len(confused_pairs(wrong, most=1)) == 1


def test_without_recorded_sets_nothing_is_said_of_them() -> None:
    wrong = mistakes(rows(BASE, LABEL, "/r").assign(set=None))
    assert wrong.within_set.isna().all() and len(wrong) == 3


def test_predictions_of_several_trials_are_refused() -> None:
    two = pd.concat([rows(BASE, LABEL, "/r"), rows(BASE, LABEL, "/r").assign(trial_id="u")])
    with pytest.raises(ValueError, match="expected rows of one trial, got 2"):
        mistakes(two)
