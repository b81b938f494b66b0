"""Performance profiles."""

from __future__ import annotations

import numpy as np
import pytest

from studies.results.stats.profiles import performance_profile

SCORES = {"a": [10.0, 20.0, 30.0], "b": [40.0, 50.0, 60.0, 70.0]}


def test_shares_by_hand() -> None:
    table = performance_profile(SCORES, [0, 10, 45, 70])
    assert list(table.columns) == ["threshold", "share", "low", "high"]
    assert table.share.tolist() == pytest.approx([1, 6 / 7, 3 / 7, 0])  # above, not at


def test_bands_hold_the_share_and_stay_in_range() -> None:
    table = performance_profile(SCORES, np.linspace(0, 80, 41), seed=2)
    assert ((table.low <= table.share) & (table.share <= table.high)).all()
    assert table.low.min() >= 0 and table.high.max() <= 1
    assert (table.high - table.low)[table.threshold == 50].item() > 0.1
    assert table.equals(performance_profile(SCORES, np.linspace(0, 80, 41), seed=2))


def test_the_band_closes_where_no_run_crosses() -> None:
    table = performance_profile(SCORES, [35])
    assert table.low.item() == table.high.item() == table.share.item() == pytest.approx(4 / 7)


def test_one_run_gives_no_band() -> None:
    table = performance_profile({"a": [10.0], "b": [20.0, 30.0]}, [15])
    assert table.share.item() == pytest.approx(2 / 3) and table[["low", "high"]].isna().all(axis=None)
