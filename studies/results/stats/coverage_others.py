"""How often the other intervals hold the truth, by simulation; run by `studies.results.stats.coverage`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from studies.results.stats.aggregate import stratified_interval
from studies.results.stats.clips import clustered_interval
from studies.results.stats.improvement import probability_of_improvement
from studies.results.stats.multiplicity import holm
from studies.results.stats.paired import t_test_p
from studies.results.stats.profiles import performance_profile
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


def unequal_splits(rng: np.random.Generator) -> bool:
    """The mean of three scopes 20 points apart whose splits have 1 to 3 runs."""
    scores, clusters = {}, {}
    for at, sizes in enumerate([(1, 3), (3, 1, 2), (1, 2, 3)]):
        split_N = np.repeat(np.arange(len(sizes)), sizes)
        clusters[str(at)] = split_N
        scores[str(at)] = 20.0 * at + rng.standard_normal(len(sizes))[split_N] + rng.standard_normal(len(split_N))
    truth = (4 * 0 + 6 * 20 + 6 * 40) / 16
    return stratified_interval(scores, resamples=RESAMPLES, clusters=clusters).holds(truth)


def seeds_of_fractions(rng: np.random.Generator, correlation: float, fractions: int, seeds: int) -> np.ndarray:
    """Fractions × seeds, normal, standard deviation 1, a seed's runs correlated."""
    common_S = np.sqrt(correlation) * rng.standard_normal(seeds)
    return np.asarray(common_S + np.sqrt(1 - correlation) * rng.standard_normal((fractions, seeds)))


def pooled(rng: np.random.Generator, correlation: float, shared: bool) -> bool:
    """The mean over 4 fractions that share 5 seeds, with and without saying so."""
    score_FS = seeds_of_fractions(rng, correlation, 4, 5)
    scores = dict(zip("abcd", score_FS, strict=True))
    clusters = dict.fromkeys("abcd", np.arange(5))
    return stratified_interval(scores, resamples=RESAMPLES, clusters=clusters, shared=shared).holds(0)


def no_false_finding(rng: np.random.Generator, seeds: int, arms: int = 8) -> bool:
    """Whether none of 8 arms that are as good as their common reference passes Holm."""
    score_AS = rng.standard_normal((arms + 1, seeds))
    clusters = {"a": np.arange(seeds)}
    p_values = [t_test_p({"a": score_S - score_AS[0]}, clusters) for score_S in score_AS[1:]]
    return not (holm(p_values) <= 0.05).any()


def profile(rng: np.random.Generator, centres: list[float], threshold: float, correlation: float = 0.0) -> bool:
    """The share above a threshold of scopes with 5 runs, standard deviation 3; correlated ones share their seeds."""
    score_FS = np.array(centres)[:, None] + 3 * seeds_of_fractions(rng, correlation, len(centres), 5)
    scores = {str(at): score_S for at, score_S in enumerate(score_FS)}
    clusters = dict.fromkeys(scores, np.arange(5))
    row = performance_profile(scores, [threshold], clusters=clusters, shared=correlation > 0).iloc[0]
    return bool(row.low <= stats.norm.sf((threshold - np.array(centres)) / 3).mean() <= row.high)


def improvement_of_splits(rng: np.random.Generator, given: bool) -> bool:
    """Probability of improvement ½ in one scope of 5 splits × 3 seeds whose variances are equal."""
    a, b = ({"s": (rng.standard_normal((5, 1)) + rng.standard_normal((5, 3))).ravel()} for _ in range(2))
    splits = {"s": np.repeat(np.arange(5), 3)}
    return probability_of_improvement(a, b, clusters=(splits, splits) if given else None).holds(0.5)


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


def groups_of_unequal_size(rng: np.random.Generator, groups: int) -> bool:
    """The same with 1 to 80 clips a group, most of them with few."""
    size_G = np.geomspace(1, 80, groups).round().astype(int)
    group_N = np.repeat(np.arange(groups), size_G)
    right_N = rng.random(len(group_N)) < rng.beta(4.9, 2.1, groups)[group_N]
    return clustered_interval(right_N, group_N, resamples=RESAMPLES).holds(70)


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
    "mean of 3 scopes apart, splits of 1 to 3 runs": unequal_splits,
    "mean of 4 fractions, seeds correlated ¼, shared": lambda rng: pooled(rng, 0.25, True),
    "mean of 4 fractions, seeds correlated ½, shared": lambda rng: pooled(rng, 0.5, True),
    "mean of 4 fractions, seeds correlated ½, sharing not given": lambda rng: pooled(rng, 0.5, False),
    "no false finding of t and Holm, 8 arms, 3 seeds": lambda rng: no_false_finding(rng, 3),
    "no false finding of t and Holm, 8 arms, 5 seeds": lambda rng: no_false_finding(rng, 5),
    "profile, 6 scopes apart": lambda rng: profile(rng, [30, 42, 55, 63, 74, 88], 63),
    "profile, 4 scopes close together": lambda rng: profile(rng, [58, 60, 62, 63], 60),
    "profile, 4 fractions, seeds correlated ½, shared": lambda rng: profile(rng, [58, 60, 62, 63], 60, 0.5),
    "profile, 1 scope": lambda rng: profile(rng, [60], 58),
    "probability of improvement ½, 6 scopes": lambda rng: improvement(rng, 0.0, 6),
    "probability of improvement 0.96, 6 scopes": lambda rng: improvement(rng, 2.5, 6),
    "probability of improvement 0.76, 1 scope": lambda rng: improvement(rng, 1.0, 1),
    "probability of improvement ½, 1 scope, 3 runs": lambda rng: improvement(rng, 0.0, 1, 3),
    "probability of improvement ½, 5 splits × 3 seeds, splits given": lambda rng: improvement_of_splits(rng, True),
    "probability of improvement ½, 5 splits × 3 seeds, not given": lambda rng: improvement_of_splits(rng, False),
    "top-1 over clips, 10 groups": lambda rng: groups_of_clips(rng, 10),
    "top-1 over clips, 40 groups": lambda rng: groups_of_clips(rng, 40),
    "top-1 over clips, 20 groups of 1 to 80 clips": lambda rng: groups_of_unequal_size(rng, 20),
    "scaling law, β, 3 seeds": lambda rng: law(rng, 3, "beta"),
    "scaling law, curve within the data, 3 seeds": lambda rng: law(rng, 3, "curve"),
    "scaling law, curve within the data, 5 seeds": lambda rng: law(rng, 5, "curve"),
    "the same, seeds not given": lambda rng: law(rng, 5, "curve", joint=False),
    "held-out largest fraction, 5 seeds": lambda rng: law(rng, 5, "held out"),
}


def percent_covered(case: str, simulations: int) -> float:
    """Percent of simulated studies whose interval holds the truth."""
    return 100 * float(np.mean([CASES[case](np.random.default_rng([2, number])) for number in range(simulations)]))
