from __future__ import annotations

import pandas as pd

from studies.results.arms_table import ArmRow, arms_table


def trial(arm: str, seed: int, student: float, teacher: float | None = None) -> dict[str, object]:
    return {
        "arm": arm,
        "number": seed,
        "test_student_top1": student,
        "test_teacher_top1": teacher,
        "dev_student_top1": student + 1,
        "seconds": 10.0 + seed,
    }


ROWS = [ArmRow(name="full", about="all of it", published={"Gym": 36.7}), ArmRow(name="less", about="without")]


def test_table_by_hand() -> None:
    trials = [trial("full", 0, 70, 71), trial("full", 1, 74, 75), trial("less", 0, 60), trial("less", 1, 68)]
    lines = arms_table(pd.DataFrame(trials), ROWS, reference="full", columns=["Gym"]).splitlines()
    assert lines[0] == "| arm | what | seeds | student | teacher | student − full | dev | seconds | Gym |"
    assert lines[2] == "| full | all of it | 2 | 72.0 ± 2.8 | 73.0 ± 2.8 |  | 73.0 | 11 | 36.7 |"
    # differences −10 and −6 by seed: their deviation is 2.8, not that of two independent means
    assert lines[3] == "| less | without | 2 | 64.0 ± 5.7 | – | -8.0 ± 2.8 | 65.0 | 11 | – |"


def test_seeds_that_only_one_arm_has_do_not_count_in_the_difference() -> None:
    trials = [trial("full", 0, 70), trial("less", 0, 60), trial("less", 1, 90)]
    lines = arms_table(pd.DataFrame(trials), ROWS, reference="full").splitlines()
    assert lines[2] == "| full | all of it | 1 | 70.0 | – |  | 71.0 | 10 |"
    assert lines[3] == "| less | without | 2 | 75.0 ± 21.2 | – | -10.0 | 76.0 | 11 |"


def test_arms_without_runs_are_dashes() -> None:
    lines = arms_table(pd.DataFrame([trial("full", 0, 70)]), ROWS, reference="full").splitlines()
    assert lines[3] == "| less | without | 0 | – | – | – | – | – |"
