"""Many comparisons at once."""

from __future__ import annotations

import math

import pytest

from studies.results.stats.multiplicity import comparison_note, holm


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1, 1]
    assert holm([]).tolist() == []


def test_an_unknown_p_value_is_no_comparison() -> None:
    adjusted = holm([0.02, math.nan, 0.04])
    assert adjusted[[0, 2]].tolist() == pytest.approx([0.04, 0.04]) and math.isnan(adjusted[1])
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\]"):
        holm([1.2])


def test_the_note_states_the_chance() -> None:
    assert comparison_note(1) == "" and comparison_note(0) == ""
    assert comparison_note(5).startswith("5 comparisons: ") and "a chance of 23 %" in comparison_note(5)
    with pytest.raises(ValueError, match="a number of comparisons ≥ 0"):
        comparison_note(-1)
