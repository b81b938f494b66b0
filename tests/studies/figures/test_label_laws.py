"""Which runs the scaling laws of the pages are fitted to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from studies.results.figures.label_efficiency import label_curve, law_runs, power_laws
from studies.results.stats.scaling import fit_power_law
from studies.results.stats.scaling_checks import held_out_check

CLIPS = {"1pc": 12, "3pc": 36, "10pc": 120, "25pc": 300}


def scores(splits: int = 4) -> pd.DataFrame:
    """SeFAR at four fractions; a seed's runs share its luck, and its split of 25pc has a clip more or less."""
    rng, rows = np.random.default_rng(0), []
    luck = rng.normal(0, 3, splits)
    for fraction, clips in CLIPS.items():
        for seed in range(splits):
            accuracy = 100 - 90 * clips**-0.4 + luck[seed] + rng.normal(0, 0.5)
            rows.append(
                {
                    "subset": "synthgym/core",
                    "method": "SeFAR",
                    "fraction": fraction,
                    "base_scope": f"synthgym/core@{fraction}",
                    "labelled_clips": float(clips + (seed - 1) * (fraction == "25pc")),
                    "split_seed": seed,
                    "train_seed": seed,
                    "test_student_top1": accuracy,
                }
            )
    return pd.DataFrame(rows)


def test_laws_take_whole_seeds_and_one_point_a_fraction() -> None:
    runs = scores()
    law = power_laws(runs)["synthgym/core", "SeFAR"]
    assert law.labels == (12, 36, 120, 300.5)  # 299, 300, 301 and 302 clips are one fraction
    labels_N = runs.groupby("fraction").labelled_clips.transform("mean")
    whole = fit_power_law(labels_N, 100 - runs.test_student_top1, seeds_N=runs.train_seed)
    assert law.intervals == whole.intervals and law.reason == ""
    apart = fit_power_law(labels_N, 100 - runs.test_student_top1)
    assert apart.at(36).half_width < 0.8 * law.at(36).half_width


def test_the_held_out_fraction_is_all_of_it() -> None:
    runs = scores()
    labels_N, error_N, seeds_N = law_runs(runs)
    check = held_out_check(labels_N, error_N, seeds_N=seeds_N)
    assert check.labels == 300.5 and check.law.labels == (12, 36, 120) and check.predicted.known
    assert check.observed == pytest.approx(100 - runs[runs.fraction == "25pc"].test_student_top1.mean())


def test_one_split_over_several_seeds_resamples_the_seeds() -> None:
    _, _, seeds_N = law_runs(scores().assign(split_seed=7))
    assert sorted(set(seeds_N.tolist())) == [0, 1, 2, 3]


def test_runs_of_one_split_are_kept_together_in_the_curve() -> None:
    runs = pd.concat([scores().assign(train_seed=seed) for seed in range(3)])
    once, thrice = label_curve(scores()), label_curve(runs)
    widths = [(curve.high - curve.low).to_numpy() for curve in (once, thrice)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
