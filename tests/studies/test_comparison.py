from __future__ import annotations

import pandas as pd
import pytest

from studies.results.comparison import fraction_cells, fractions_of, method_table
from studies.results.fixmatch import chosen_fixmatch, in_short
from studies.results.scores import tidy_scores

CLIPS = {"1pc": 12, "3pc": 36, "all": 600}


def trial(role: str, seed: int, student: float, teacher: float | None, dev: float) -> dict[str, object]:
    labels = role.partition("@")[2]
    return {
        "study": "label_efficiency",
        "trial_id": f"{role} {seed}",
        "status": "finished",
        "scope": f"synthgym/core@{'1' if labels == 'all' else labels}#{seed}",
        "role": role,
        "number": seed,
        "train_seed": seed,
        "labelled_clips": CLIPS[labels],
        "test_student_top1": student,
        "test_teacher_top1": teacher,
        "dev_student_top1": dev,
        "seconds": 10.0 + seed,
        "accelerator_seconds": 0.0,
    }


ONE_FRACTION = [
    trial("sefar @1pc", 0, 70, 71, 72),
    trial("sefar @1pc", 1, 74, 75, 76),
    trial("supervised @1pc", 0, 60, None, 61),
    trial("supervised @1pc", 1, 58, None, 61),
    trial("fixmatch τ=0.5 @1pc", 0, 90, 90, 50),
    trial("fixmatch τ=0.5 @1pc", 1, 90, 90, 50),
    trial("fixmatch τ=0.8 @1pc", 0, 66, 66, 55),
    trial("fixmatch τ=0.8 @1pc", 1, 66, 66, 55),
]
# at three labels a class the other threshold is the better one on dev, though the worse one on test
THREE_PER_CLASS = [
    trial("sefar @3pc", 0, 80, 80, 80),
    trial("sefar @3pc", 1, 82, 82, 82),
    trial("fixmatch τ=0.5 @3pc", 0, 70, 70, 79),
    trial("fixmatch τ=0.5 @3pc", 1, 71, 71, 79),
    trial("fixmatch τ=0.8 @3pc", 0, 99, 99, 78),
    trial("fixmatch τ=0.8 @3pc", 1, 99, 99, 78),
]
ALL = [trial("supervised @all", 0, 96, None, 95), trial("supervised @all", 1, 97, None, 95)]


def test_table_of_one_fraction_by_hand() -> None:
    text = method_table(pd.DataFrame(ONE_FRACTION), command="c")
    assert "| sefar @1pc | 70.0, 74.0 | 72.0 ± 2.8 | 71.0, 75.0 | 73.0 ± 2.8 | 74.0 | 11 |" in text
    assert "| supervised @1pc | 60.0, 58.0 | 59.0 ± 1.4 | – | – | 61.0 | 11 |" in text
    # the threshold is chosen on dev, though the other one has the better test accuracy
    assert "| fixmatch τ=0.8 @1pc (chosen on dev) |" in text
    assert text.count("(chosen on dev)") == 1
    assert "SeFAR − supervised @1pc, student, per seed: +10.0, +16.0; mean +13.0 points (95 % interval " in text
    assert "SeFAR − fixmatch τ=0.8 @1pc, student, per seed: +4.0, +8.0; mean +6.0 points (95 % interval " in text
    assert "SeFAR − fixmatch τ=0.5" not in text
    assert "| method | 1pc" not in text  # no table of fractions for one of them


def test_a_single_method_has_no_differences() -> None:
    text = method_table(pd.DataFrame([trial("supervised @1pc", 0, 60, None, 61)]), command="c")
    assert "| supervised @1pc | 60.0 | 60.0 | – | – | 61.0 | 10 |" in text
    assert "SeFAR −" not in text


def test_fixmatch_is_chosen_at_each_fraction_on_dev() -> None:
    scores = tidy_scores(pd.DataFrame(ONE_FRACTION + THREE_PER_CLASS))
    assert chosen_fixmatch(scores, "1pc") == {"fixmatch": "fixmatch τ=0.8"}
    assert chosen_fixmatch(scores, "3pc") == {"fixmatch": "fixmatch τ=0.5"}
    assert chosen_fixmatch(scores, "1") == {}
    better = scores.assign(test_student_top1=100 - scores.test_student_top1)
    assert chosen_fixmatch(better, "3pc") == {"fixmatch": "fixmatch τ=0.5"}  # test accuracy has no say


def test_a_threshold_of_an_easy_seed_alone_is_not_chosen() -> None:
    rows = [trial("sefar @1pc", seed, 60 + seed, None, 60) for seed in range(3)]
    rows += [trial("fixmatch τ=0.5 @1pc", seed, 60, None, dev) for seed, dev in enumerate((92, 60, 58))]
    rows += [trial("fixmatch τ=0.95 @1pc", 0, 60, None, 90)]  # the study was stopped after the easy seed
    assert chosen_fixmatch(tidy_scores(pd.DataFrame(rows)), "1pc") == {"fixmatch": "fixmatch τ=0.5"}
    text = method_table(pd.DataFrame(rows), command="c")
    assert (
        "\nThe threshold of FixMatch at 1pc is τ=0.5. Chosen on dev over the one run that each has in common with the "
        "others; 2 further runs are left out of it.\n"
    ) in text
    tied = [*rows[:-1], *(trial("fixmatch τ=0.8 @1pc", s, 60, None, dev) for s, dev in enumerate((58, 60, 92)))]
    said = "The threshold of FixMatch at 1pc is τ=0.5. Equally good on dev: τ=0.5, τ=0.8."
    assert said in method_table(pd.DataFrame(tied), command="c")


def test_a_network_of_one_granularity_has_its_own_threshold() -> None:
    rows = [trial("fixmatch_single τ=0.5 @1pc", seed, 40, None, 41) for seed in range(2)]
    rows += [trial("fixmatch_single τ=0.95 @1pc", seed, 44, None, 43) for seed in range(2)]
    scores = tidy_scores(pd.DataFrame(ONE_FRACTION + rows))
    chosen = {"fixmatch": "fixmatch τ=0.8", "fixmatch_single": "fixmatch_single τ=0.95"}
    assert chosen_fixmatch(scores, "1pc") == chosen
    assert fraction_cells(scores)["single-level FixMatch"]["1pc"].interval.value == 44
    text = method_table(pd.DataFrame(ONE_FRACTION + rows), command="c")
    assert [line for line in text.splitlines() if line.startswith("| ") and "(chosen on dev)" in line] == [
        *(line for line in text.splitlines() if line.startswith(("| fixmatch τ=0.8", "| fixmatch_single τ=0.95")))
    ]
    for method in chosen.values():
        assert f"SeFAR − {method} @1pc, student, per seed: " in text
    assert in_short(scores.method).unique().tolist() == ["SeFAR", "supervised", "FixMatch", "single-level FixMatch"]


def test_cells_by_fraction() -> None:
    scores = tidy_scores(pd.DataFrame(ONE_FRACTION + THREE_PER_CLASS + ALL))
    assert fractions_of(scores) == ["1pc", "3pc", "1"]
    cells = fraction_cells(scores)
    assert list(cells) == ["SeFAR", "supervised", "FixMatch", "SeFAR − supervised", "SeFAR − FixMatch"]
    assert cells["SeFAR"]["3pc"].interval.value == 81
    assert cells["supervised"].keys() == {"1pc", "1"}
    assert cells["FixMatch"]["3pc"].interval.value == 70.5
    assert cells["SeFAR − FixMatch"]["3pc"].interval.value == 10.5
    assert cells["SeFAR − FixMatch"]["3pc"].runs == 2
    low, high = cells["SeFAR"]["3pc"].interval.low, cells["SeFAR"]["3pc"].interval.high
    assert low < 80 and high > 82  # two seeds say little: wider than what they span


def test_table_of_fractions() -> None:
    text = method_table(pd.DataFrame(ONE_FRACTION + THREE_PER_CLASS + ALL), command="c")
    assert "| method | 1pc (12 clips) | 3pc (36 clips) | all (600 clips) |" in text
    (fixmatch,) = [line for line in text.splitlines() if line.startswith("| FixMatch |")]
    assert "66.0, τ=0.8" in fixmatch and "70.5 [" in fixmatch and fixmatch.endswith("τ=0.5 | – |")
    (difference,) = [line for line in text.splitlines() if line.startswith("| SeFAR − supervised |")]
    assert "| +13.0 [" in difference and difference.endswith("| – | – |")
    assert "all runs of" not in text.partition("| method |")[0]
    for heading in ("## 1pc (12 clips)", "## 3pc (36 clips)", "## all (600 clips)"):
        assert heading in text
    assert "| UCF101 | SeFAR-S | 46 |" in text  # the paper's Table 6


def test_a_run_without_partner_counts_in_the_mean_alone() -> None:
    rows = [*ONE_FRACTION, *THREE_PER_CLASS, trial("sefar @1pc", 2, 60, 60, 60)]
    cells = fraction_cells(tidy_scores(pd.DataFrame(rows)))
    assert cells["SeFAR"]["1pc"].runs == 3
    assert cells["SeFAR"]["1pc"].interval.value == pytest.approx(68)
    assert cells["SeFAR − supervised"]["1pc"].runs == 2
