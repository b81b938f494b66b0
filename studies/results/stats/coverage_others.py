"""How often the other intervals hold the truth, by simulation; run by `studies.results.stats.coverage`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from studies.results.stats.aggregate import stratified_interval
from studies.results.stats.clips import clustered_interval
from studies.results.stats.improvement import probability_of_improvement
from studies.results.stats.scaling import fit_power_law
from studies.results.stats.scaling_checks import held_out_check

LABELS = np.array([6.0, 12, 30, 60, 150, 300])
A, B, BETA = 3.0, 90.0, 0.5  # the law of the simulated runs
RESAMPLES = 300


def few_runs(rng: np.random.Generator, runs: int) -> bool:
    """The mean of one scope's normal runs (or pairs)."""
    found = stratified_interval({"a": rng.normal(50, 3, runs)}, resamples=RESAMPLES, seed=int(rng.integers(1 << 31)))
    return found.holds(50)


def splits_and_seeds(rng: np.random.Generator, clustered: bool) -> bool:
    """The mean of 3 splits × 3 seeds whose variances are equal, with and without saying which runs share a split."""
    scores_IJ = 50 + 2 * rng.standard_normal(3)[:, None] + 2 * rng.standard_normal((3, 3))
    clusters = {"a": np.repeat(np.arange(3), 3)} if clustered else None
    return stratified_interval({"a": scores_IJ.ravel()}, resamples=RESAMPLES, clusters=clusters).holds(50)


def improvement(rng: np.random.Generator, distance: float, scopes: int, runs: int = 5) -> bool:
    """Probability of improvement, means `distance` standard deviations apart."""
    a, b = ({str(s): rng.normal(mean, 1, runs) for s in range(scopes)} for mean in (distance, 0.0))
    return probability_of_improvement(a, b).holds(float(stats.norm.cdf(distance / np.sqrt(2))))


def groups_of_clips(rng: np.random.Generator, groups: int) -> bool:
    """Top-1 of clips whose groups differ in difficulty, 20 clips a group."""
    chance_G = rng.beta(4.9, 2.1, groups)
    right_GM = rng.random((groups, 20)) < chance_G[:, None]
    found = clustered_interval(right_GM.ravel(), np.repeat(np.arange(groups), 20), resamples=RESAMPLES)
    return found.holds(70)


def law(rng: np.random.Generator, seeds: int, what: str, joint: bool = True) -> bool:
    """The scaling law of runs that scatter by 6 % of their error, and by 6 % more that a seed's runs share."""
    shared_S = 0.06 * rng.standard_normal(seeds)
    error_SK = (A + B * LABELS**-BETA) * (1 + shared_S[:, None] + 0.06 * rng.standard_normal((seeds, len(LABELS))))
    labels_N, error_N = np.tile(LABELS, seeds), np.maximum(error_SK, 0).ravel()
    seeds_N = np.repeat(np.arange(seeds), len(LABELS)) if joint else None
    if what == "held out":
        return bool(held_out_check(labels_N, error_N, seeds_N=seeds_N, resamples=RESAMPLES).inside)
    fitted = fit_power_law(labels_N, error_N, seeds_N=seeds_N, resamples=RESAMPLES)
    return fitted.at(60).holds(A + B * 60**-BETA) if what == "curve" else fitted.intervals["beta"].holds(BETA)


CASES: dict[str, Callable[[np.random.Generator], bool]] = {
    "mean of one scope, 3 runs": lambda rng: few_runs(rng, 3),
    "mean of one scope, 5 runs": lambda rng: few_runs(rng, 5),
    "mean of 3 splits × 3 seeds, splits given": lambda rng: splits_and_seeds(rng, True),
    "mean of 3 splits × 3 seeds, splits not given": lambda rng: splits_and_seeds(rng, False),
    "probability of improvement ½, 6 scopes": lambda rng: improvement(rng, 0.0, 6),
    "probability of improvement 0.96, 6 scopes": lambda rng: improvement(rng, 2.5, 6),
    "probability of improvement 0.76, 1 scope": lambda rng: improvement(rng, 1.0, 1),
    "probability of improvement ½, 1 scope, 3 runs": lambda rng: improvement(rng, 0.0, 1, 3),
    "top-1 over clips, 10 groups": lambda rng: groups_of_clips(rng, 10),
    "top-1 over clips, 40 groups": lambda rng: groups_of_clips(rng, 40),
    "scaling law, β, 3 seeds": lambda rng: law(rng, 3, "beta"),
    "scaling law, curve within the data, 3 seeds": lambda rng: law(rng, 3, "curve"),
    "scaling law, curve within the data, 5 seeds": lambda rng: law(rng, 5, "curve"),
    "the same, seeds not given": lambda rng: law(rng, 5, "curve", joint=False),
    "held-out largest fraction, 5 seeds": lambda rng: law(rng, 5, "held out"),
}


def percent_covered(case: str, simulations: int) -> float:
    """Percent of simulated studies whose interval holds the truth."""
    return 100 * float(np.mean([CASES[case](np.random.default_rng([2, number])) for number in range(simulations)]))
