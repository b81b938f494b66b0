"""Performance profiles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from studies.results.stats.profiles import performance_profile

SCORES = {"a": [10.0, 20.0, 30.0], "b": [40.0, 50.0, 60.0, 70.0]}


def test_shares_by_hand() -> None:
    table = performance_profile(SCORES, [0, 10, 45, 70])
    assert list(table.columns) == ["threshold", "share", "low", "high"]
    assert table.share.tolist() == pytest.approx([1, 6 / 7, 3 / 7, 0])  # above, not at


def test_the_band_of_one_scope_is_agresti_s_and_coull_s() -> None:
    table = performance_profile({"a": [1.0, 2, 3, 4, 5]}, [3.5])
    square = 1.959964**2
    near = (2 + square / 2) / (5 + square)
    half = math.sqrt(square * near * (1 - near) / (5 + square))
    assert table.share.item() == 0.4
    assert near > 0.4  # drawn to ½; the band reaches out from both
    assert (table.low.item(), table.high.item()) == pytest.approx((0.4 - half, near + half), abs=1e-5)


def test_bands_hold_the_share_and_stay_in_range() -> None:
    table = performance_profile(SCORES, np.linspace(0, 80, 41))
    assert ((table.low <= table.share) & (table.share <= table.high)).all()
    assert table.low.min() >= 0 and table.high.max() <= 1


def test_the_band_stays_open_where_no_run_crosses() -> None:
    # 3 of 3 and 4 of 4 runs above: nothing says that none could lie below
    row = performance_profile(SCORES, [5]).iloc[0]
    assert row.share == row.high == 1 and 0.4 < row.low < 0.8
    row = performance_profile(SCORES, [35]).iloc[0]
    assert row.low < 4 / 7 - 0.1 and row.high > 4 / 7 + 0.1


def test_runs_of_one_split_count_as_one_and_shared_splits_widen_the_band() -> None:
    runs = {"a": [1.0, 1, 1, 2, 2, 2, 3, 3, 3], "b": [1.0, 1, 1, 2, 2, 2, 3, 3, 3]}
    splits = dict.fromkeys(runs, np.repeat(np.arange(3), 3))
    few = performance_profile({"a": [1.0, 2, 3], "b": [1.0, 2, 3]}, [1.5])
    apart = performance_profile(runs, [1.5], clusters=splits)
    assert apart[["share", "low", "high"]].to_numpy() == pytest.approx(few[["share", "low", "high"]].to_numpy())
    together = performance_profile(runs, [1.5], clusters=splits, shared=True)
    # two scopes alike, errors correlated by ½: 1.5 times the variance; neither bound is at 0 or 1
    near = (2 + 1.92073 / 2) / (3 + 1.92073)
    widths = [min(2 / 3, near) - table.low.item() for table in (apart, together)]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(1.5), rel=1e-3)


def test_one_run_gives_no_band() -> None:
    table = performance_profile({"a": [10.0], "b": [20.0, 30.0]}, [15])
    assert table.share.item() == pytest.approx(2 / 3) and table[["low", "high"]].isna().all(axis=None)
