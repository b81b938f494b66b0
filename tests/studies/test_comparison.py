from __future__ import annotations

import pandas as pd

from studies.results.comparison import method_table


def trial(role: str, seed: int, student: float, teacher: float | None, dev: float) -> dict[str, object]:
    return {
        "role": role,
        "number": seed,
        "test_student_top1": student,
        "test_teacher_top1": teacher,
        "dev_student_top1": dev,
        "seconds": 10.0 + seed,
    }


def test_table_by_hand() -> None:
    rows = [
        trial("sefar @1pc", 0, 70, 71, 72),
        trial("sefar @1pc", 1, 74, 75, 76),
        trial("supervised @1pc", 0, 60, None, 61),
        trial("supervised @1pc", 1, 58, None, 61),
        trial("fixmatch τ=0.5 @1pc", 0, 90, 90, 50),
        trial("fixmatch τ=0.5 @1pc", 1, 90, 90, 50),
        trial("fixmatch τ=0.8 @1pc", 0, 66, 66, 55),
        trial("fixmatch τ=0.8 @1pc", 1, 66, 66, 55),
    ]
    text = method_table(pd.DataFrame(rows), command="c")
    assert "| sefar @1pc | 70.0, 74.0 | 72.0 ± 2.8 | 71.0, 75.0 | 73.0 ± 2.8 | 74.0 | 11 |" in text
    assert "| supervised @1pc | 60.0, 58.0 | 59.0 ± 1.4 | – | – | 61.0 | 11 |" in text
    # the threshold is chosen on dev, though the other one has the better test accuracy
    assert "| fixmatch τ=0.8 @1pc (chosen on dev) |" in text
    assert "SeFAR − supervised @1pc, student, per seed: +10.0, +16.0; mean +13.0 points." in text
    assert "SeFAR − fixmatch τ=0.8 @1pc, student, per seed: +4.0, +8.0; mean +6.0 points." in text


def test_a_single_method_has_no_differences() -> None:
    text = method_table(pd.DataFrame([trial("supervised @1pc", 0, 60, None, 61)]), command="c")
    assert "| supervised @1pc | 60.0 | 60.0 | – | – | 61.0 | 10 |" in text
    assert "SeFAR −" not in text
