"""Seed variance apart from split variance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from studies.results.stats.variance import variance_components


def table(cells: dict[tuple[int, int], float]) -> pd.DataFrame:
    rows = [
        {"base_scope": "s", "method": "m", "split_seed": i, "train_seed": j, "test_student_top1": v}
        for (i, j), v in cells.items()
    ]
    return pd.DataFrame(rows)


def test_two_way_by_hand() -> None:
    # splits differ by 10, seeds within a split by ±1 in opposite directions: nothing but rest
    found = variance_components(table({(0, 0): 59, (0, 1): 61, (1, 0): 71, (1, 1): 69})).iloc[0]
    assert found["mean"] == 65 and found.trials == 4
    assert found.seed_std == pytest.approx(np.sqrt(2))  # within: (1+1+1+1) / 2
    # rest mean square 4/1, split mean square 2 · (25 + 25) / 1 = 100
    assert found.split_std == pytest.approx(np.sqrt((100 - 4) / 2))
    assert found.note == "2 splits only: split_std is rough"


def test_an_effect_that_a_seed_has_on_all_splits_is_no_split_variance() -> None:
    cells = {(i, j): 60 + 3 * i + 5 * j for i in range(4) for j in range(3)}
    found = variance_components(table(cells)).iloc[0]
    assert found.split_std == pytest.approx(np.std([0, 3, 6, 9], ddof=1))
    assert found.seed_std == pytest.approx(5) and found.note == ""


def test_truth_is_found_in_large_simulations() -> None:
    rng = np.random.default_rng(0)
    split, noise = rng.normal(0, 3, 400), rng.normal(0, 2, (400, 4))
    cells = {(i, j): 60 + split[i] + noise[i, j] for i in range(400) for j in range(4)}
    crossed = variance_components(table(cells)).iloc[0]
    nested = variance_components(table({(i, 4 * i + j): v for (i, j), v in cells.items()})).iloc[0]
    holes = variance_components(table({key: v for n, (key, v) in enumerate(cells.items()) if n % 5})).iloc[0]
    for found in (crossed, nested, holes):
        assert found.split_std == pytest.approx(3, rel=0.1) and found.seed_std == pytest.approx(2, rel=0.06)


def test_very_unequal_splits_by_hand() -> None:
    runs = [(0, 60.0), (1, 70.0), *((2, 64.0 + 2 * (n % 2)) for n in range(10))]
    found = variance_components(table({(split, n): v for n, (split, v) in enumerate(runs)})).iloc[0]
    # within (ten deviations of 1) 10/9; between (25 + 25 + 0) / 2; n₀ = (12 − 102/12) / 2 = 1.75
    assert found.seed_std == pytest.approx(np.sqrt(10 / 9))
    assert found.split_std == pytest.approx(np.sqrt((25 - 10 / 9) / 1.75))


def test_a_crossed_layout_with_a_hole_is_said() -> None:
    cells = {(i, j): 60.0 + 3 * i + 5 * j for i in range(4) for j in range(3)}
    del cells[1, 2]
    assert variance_components(table(cells)).iloc[0].note == (
        "1 of 12 runs of a crossed layout absent: effects of seeds are not taken out"
    )
    nested = {(i, 2 * i + j): 60.0 + 9 * i + j for i in range(4) for j in range(2)}
    assert "absent" not in variance_components(table(nested)).iloc[0].note


def test_a_negative_estimate_is_0_and_said() -> None:
    found = variance_components(table({(i, j): 60 + 4 * j for i in range(4) for j in range(2)} | {(0, 0): 61})).iloc[0]
    nested = {(i, 2 * i + j): 60.0 + 4 * j for i in range(4) for j in range(2)}
    clipped = variance_components(table(nested)).iloc[0]
    assert found.split_std >= 0
    assert clipped.split_std == 0 and clipped.note.startswith("split variance estimated at -4, set to 0")


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ({(0, 0): 60, (1, 1): 62, (2, 2): 64}, "training seed and label split change together and cannot be told"),
        ({(0, 7): 60, (1, 7): 62, (2, 7): 64}, "one training seed: split_std would hold seed variance too"),
        ({(0, 0): 60}, "one run: no spread"),
    ],
)
def test_what_cannot_be_told_apart_is_said(cells: dict[tuple[int, int], float], note: str) -> None:
    found = variance_components(table(cells)).iloc[0]
    assert np.isnan(found.seed_std) and np.isnan(found.split_std) and found.note.startswith(note)
    assert len(cells) == 1 or found.total_std == pytest.approx(2)


def test_one_split_gives_seed_variance_alone() -> None:
    found = variance_components(table({(0, 0): 60, (0, 1): 62, (0, 2): 64})).iloc[0]
    assert found.seed_std == pytest.approx(2) and np.isnan(found.split_std) and found.note.startswith("one label split")


def test_repeats_are_averaged_and_groups_kept_apart() -> None:
    rows = table({(0, 0): 60, (0, 1): 62})
    both = pd.concat([rows, rows.iloc[:1].assign(test_student_top1=64.0), rows.assign(method="n")])
    found = variance_components(both).set_index("method")
    assert found.loc["m", "seed_std"] == pytest.approx(0) and "repeats" in found.loc["m", "note"]
    assert found.loc["n", "seed_std"] == pytest.approx(np.sqrt(2)) and found.loc["m", "trials"] == 3
    with pytest.raises(ValueError, match="no column 'top1'"):
        variance_components(rows, "top1")
    assert variance_components(rows.iloc[:0]).empty
