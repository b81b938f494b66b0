"""The scaling law, its held-out check, and labels that methods are worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from studies.results.stats.scaling import fit_power_law
from studies.results.stats.scaling_checks import held_out_check, label_equivalence

LABELS = np.array([6.0, 12, 30, 60, 150, 300])


def runs(
    a: float, b: float, beta: float, *, seeds: int = 5, noise: float = 0.03, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, errors and seeds of runs whose errors scatter by `noise` of themselves."""
    rng = np.random.default_rng(seed)
    error = (a + b * LABELS**-beta) * (1 + noise * rng.normal(size=(seeds, len(LABELS))))
    return np.tile(LABELS, seeds), error.ravel(), np.repeat(np.arange(seeds), len(LABELS))


@pytest.mark.parametrize(("a", "b", "beta"), [(3.0, 90.0, 0.5), (0.0, 60.0, 0.3), (8.0, 200.0, 1.2)])
def test_a_law_without_noise_is_found(a: float, b: float, beta: float) -> None:
    law = fit_power_law(LABELS, a + b * LABELS**-beta)
    assert (law.a, law.b, law.beta) == pytest.approx((a, b, beta), rel=1e-3, abs=1e-3)
    assert law.misfit < 1e-5 and law.labels == tuple(LABELS)
    assert law.predict([1, 100]) == pytest.approx([a + b, a + b * 100**-beta], rel=1e-3)


def test_the_truth_lies_within_the_intervals() -> None:
    labels, errors, seeds = runs(3, 90, 0.5)
    law = fit_power_law(labels, errors, seeds_N=seeds)
    for name, truth in (("a", 3), ("b", 90), ("beta", 0.5)):
        assert law.intervals[name].holds(truth) and law.intervals[name].half_width > 0
    assert law.at(60).holds(3 + 90 * 60**-0.5)
    low, high = law.band(LABELS)
    assert ((low <= law.predict(LABELS)) & (law.predict(LABELS) <= high)).all()
    assert law.inside(60) and not law.inside(301)


def test_the_same_seed_gives_the_same_intervals() -> None:
    labels, errors, seeds = runs(3, 90, 0.5)
    first, again, other = (fit_power_law(labels, errors, seeds_N=seeds, seed=s) for s in (1, 1, 2))
    assert first.intervals == again.intervals != other.intervals
    assert (first.a, first.beta) == (other.a, other.beta)
    assert fit_power_law(labels, errors).intervals["beta"].known


def test_the_errors_unit_does_not_matter() -> None:
    labels, errors, _ = runs(3, 90, 0.5)
    percent, share = fit_power_law(labels, errors), fit_power_law(labels, errors / 100)
    assert share.beta == pytest.approx(percent.beta, rel=1e-3) and share.b == pytest.approx(percent.b / 100, rel=1e-3)


def test_errors_that_rise_give_a_flat_law_and_errors_of_0_do_not_break_it() -> None:
    flat = fit_power_law([6, 12, 30, 60], [10, 11, 12, 13])
    assert flat.predict(6) == pytest.approx(flat.predict(60), rel=0.02) and 10 < flat.predict(30) < 13
    assert fit_power_law([6, 12, 30, 60], [20, 5, 0, 0]).predict(60) < 1
    assert fit_power_law([6, 12, 30], [0, 0, 0]).predict(12) == pytest.approx(0, abs=1e-6)


def test_one_seed_gives_a_law_without_intervals() -> None:
    law = fit_power_law(LABELS, 3 + 90 * LABELS**-0.5)
    assert not law.intervals["a"].known and law.reason.startswith("one run only at 6, 12, 30, 60, 150, 300 labels")
    assert np.isnan(law.band([6, 60])).all() and math.isnan(law.at(60).low) and law.at(60).value > 0
    alone = fit_power_law(LABELS, 3 + 90 * LABELS**-0.5, seeds_N=np.zeros(6))
    assert alone.reason == "one seed only: its spread is not known"


@pytest.mark.parametrize(
    ("labels", "errors", "seeds", "text"),
    [
        (
            [6, 12, 6],
            [30, 20, 31],
            None,
            "needs at least 3 different label counts, got 2 .6, 12.; run further fractions",
        ),
        ([6, 12, 0], [30, 20, 10], None, "labels_N: expected positive label counts"),
        ([6, 12, 30], [30, 20, -1], None, "error_N: expected finite errors of at least 0"),
        ([6, 12, 30], [30, 20, math.nan], None, "error_N: expected finite errors"),
        ([6, 12, 30], [30, 20], None, "expected one of each a run, got 3 and 2"),
        ([6, 12, 30], [30, 20, 10], [0], "seeds_N: expected one a run, got 1 for 3 runs"),
    ],
)
def test_bad_runs_are_refused(labels: list, errors: list, seeds: list | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fit_power_law(labels, errors, seeds_N=seeds)


def test_a_law_that_holds_foretells_the_largest_fraction() -> None:
    labels, errors, seeds = runs(3, 90, 0.5)
    found = held_out_check(labels, errors, seeds_N=seeds)
    assert found.labels == 300 and found.inside and found.predicted.holds(found.observed)
    assert found.observed == pytest.approx(errors[labels == 300].mean())
    assert found.law.labels == tuple(LABELS[:-1]) and found.text().endswith(": inside the interval")


def test_a_law_that_breaks_does_not() -> None:
    labels, errors, seeds = runs(0, 90, 0.5)
    broken = np.where(labels == 300, 4 * errors, errors)
    found = held_out_check(labels, broken, seeds_N=seeds)
    assert found.inside is False and found.text().endswith(": outside the interval")


def test_the_foretold_mean_scatters_as_the_held_out_runs_do() -> None:
    labels, errors, seeds = runs(3, 90, 0.5, noise=0.01)
    wild = np.where(labels == 300, errors + np.array([-4.0, 4, 0, -4, 4])[seeds], errors)
    found = held_out_check(labels, wild, seeds_N=seeds)
    calm = held_out_check(labels, errors, seeds_N=seeds)
    # five runs of deviation 4: their mean has 4 / √5, and 95 % within twice that
    assert calm.predicted.half_width < 1 and 2.5 < found.predicted.half_width < 5


def test_held_out_checks_without_verdict() -> None:
    labels, errors, _ = runs(3, 90, 0.5, seeds=1)
    found = held_out_check(labels, errors)
    assert found.inside is None and "no verdict: one run only" in found.text()
    with pytest.raises(ValueError, match="holding one label count out leaves 2, and the law needs 3"):
        held_out_check([6, 12, 30], [30, 20, 10])


def test_label_equivalence_by_hand() -> None:
    better = fit_power_law(LABELS, 45 * LABELS**-0.5)
    worse = fit_power_law(LABELS, 90 * LABELS**-0.5)
    found = label_equivalence(better, worse, 30)  # half the error at β = ½: four times the labels
    assert found.labels_b.value == pytest.approx(120, rel=1e-2) and found.ratio.value == pytest.approx(4, rel=1e-2)
    assert found.reachable and not found.extrapolated and not found.ratio.known and math.isnan(found.unreached)
    assert found.text("SeFAR", "supervised") == "SeFAR at 30 labels equals supervised at 120 (ratio 4)"
    far = label_equivalence(better, worse, 200)
    assert far.extrapolated and far.text().endswith("; beyond the data)")


def test_label_equivalence_has_the_truth_in_its_interval() -> None:
    better, worse = (fit_power_law(*runs(3, b, 0.5, seed=seed)[:2], seed=seed) for b, seed in ((60.0, 1), (90.0, 2)))
    found = label_equivalence(better, worse, 30)
    assert found.ratio.low < 2.25 < found.ratio.high and found.unreached == 0
    assert "95 % interval" in found.text()
    same = label_equivalence(worse, worse, 30)
    assert (same.ratio.value, same.ratio.low, same.ratio.high) == pytest.approx((1, 1, 1))


def test_an_error_below_the_other_s_asymptote_is_never_reached() -> None:
    good, bad = fit_power_law(LABELS, 2 + 60 * LABELS**-0.8), fit_power_law(LABELS, 20 + 60 * LABELS**-0.8)
    found = label_equivalence(good, bad, 60)
    assert not found.reachable and math.isinf(found.ratio.value) and not found.extrapolated
    assert found.text() == "B does not get to A's error at 60 labels with any number of labels"
    with pytest.raises(ValueError, match="expected a positive label count, got 0"):
        label_equivalence(good, bad, 0)


def test_draws_that_never_reach_it_open_the_interval() -> None:
    good = fit_power_law(*runs(2, 60, 0.8, noise=0.1)[:2])
    near = fit_power_law(*runs(6, 60, 0.8, noise=0.1, seed=3)[:2])
    found = label_equivalence(good, near, 60)
    assert 0 < found.unreached < 1
    assert math.isinf(found.labels_b.high) == (found.unreached > 0.025)
    assert not math.isnan(found.labels_b.low)
