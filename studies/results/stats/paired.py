"""Paired differences of two methods: runs of the same scope, label split and training seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from studies.results.stats.aggregate import RESAMPLES, mean, stratified_interval
from studies.results.stats.blocks import blocks_of
from studies.results.stats.interval import LEVEL, Interval, unknown
from studies.results.stats.resampling import jackknife, no_interval, strata_of

PAIR = ["base_scope", "split_seed", "train_seed"]  # two runs that agree in these are a pair
VALUE = "test_student_top1"
EXACT_SIGNS = 16  # blocks up to which all sign patterns are tried
RANDOM_SIGNS = 20_000


@dataclass(frozen=True)
class PairedDifference:
    """What one method is worth against another.

    Attributes:
        method: the one.
        other: what it is compared with.
        value: column that is compared; percent.
        interval: mean difference, method − other, in percent points, and its interval.
        pairs: number of pairs.
        per_pair: a row a pair: ``base_scope``, ``split_seed``, ``train_seed``, ``of_method``, ``of_other``,
            ``difference``.
        unpaired: a row a run without partner: the same keys, ``method`` and its score; left out of all figures.
        p_value: of a two-sided t test that the mean difference is 0, over blocks, with the interval's degrees of
            freedom; NaN where there is no interval.
        least_p: the smallest `sign_p` that so few independent blocks can give.
        note: what limits the comparison, in words; empty when nothing does.
        sign_p: of a two-sided sign-flip permutation test, which assumes no normal differences but cannot be small with
            few blocks; NaN without pairs.
    """

    method: str
    other: str
    value: str
    interval: Interval
    pairs: int
    per_pair: pd.DataFrame = field(compare=False, repr=False)
    unpaired: pd.DataFrame = field(compare=False, repr=False)
    p_value: float
    least_p: float
    note: str = ""
    sign_p: float = math.nan


def paired_difference(
    scores: pd.DataFrame,
    method: str,
    other: str,
    *,
    value: str = VALUE,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """Compare two methods over the runs that both have.

    Pairs of one label split share it, at several label fractions of a data set too, so they are one block: blocks are
    resampled and flipped whole. In a scope with one label split only, pairs of a training seed are one block, and
    `note` says that other splits are not covered.

    Args:
        scores: of `tidy_scores`, of one study and stage.
        method: as in column ``method``.
        other: as in column ``method``.
        value: column to compare, in percent.
        level: of the interval.
        resamples: bootstrap samples.
        seed: of bootstrap and permutations.

    Raises:
        ValueError: a method or column that is not there, or two runs of a method with the same keys.
    """
    sides = [_by_key(scores, name, value) for name in (method, other)]
    joined = pd.concat(sides, axis=1, keys=["of_method", "of_other"])
    both = joined.notna().all(axis=1)
    per_pair = joined[both].assign(difference=lambda rows: rows.of_method - rows.of_other).reset_index()
    lone = joined[~both].reset_index()
    unpaired = lone[PAIR].assign(
        method=np.where(lone.of_method.notna(), method, other), score=lone.of_method.fillna(lone.of_other)
    )
    blocks = blocks_of(per_pair)
    notes = [_one_split(per_pair)] + ([f"{len(unpaired)} runs without partner left out"] if len(unpaired) else [])
    interval, p_value = _tested(per_pair, blocks, level=level, resamples=resamples, seed=seed)
    sums = per_pair.groupby(blocks).difference.sum().to_numpy(dtype=float)
    sign_p, least_p = sign_flip_p(sums, seed=seed)
    note = "; ".join(text for text in notes if text)
    return PairedDifference(
        method, other, value, interval, len(per_pair), per_pair, unpaired, p_value, least_p, note, sign_p
    )


def _by_key(scores: pd.DataFrame, method: str, value: str) -> pd.Series:
    """A method's finite scores by pair key.

    Raises:
        ValueError: see `paired_difference`.
    """
    if value not in scores:
        raise ValueError(f"value: scores have no column '{value}'; they have {', '.join(map(str, scores.columns))}")
    rows = scores[scores.method == method]
    if rows.empty:
        known = ", ".join(sorted(map(str, scores.method.unique()))) or "none"
        raise ValueError(f"method '{method}' is not among the scores; methods: {known}")
    rows = rows[rows[value].notna()]
    twice = rows[rows.duplicated(PAIR)]
    if len(twice):
        first = twice.iloc[0]
        raise ValueError(
            f"method '{method}' has two runs of {first.base_scope}, split seed {first.split_seed}, training seed "
            f"{first.train_seed}; keep one study and one stage (search or confirm)"
        )
    return rows.set_index(PAIR)[value].astype(float)


def _one_split(per_pair: pd.DataFrame) -> str:
    """What to say of scopes whose pairs all have one label split."""
    scopes = per_pair.groupby("base_scope").split_seed
    told = sorted(per_pair.base_scope[(scopes.transform("nunique") == 1) & (scopes.transform("size") > 1)].unique())
    return f"one label split in {', '.join(told)}: other splits are not covered" if told else ""


def _tested(
    per_pair: pd.DataFrame, blocks: pd.Series, *, level: float, resamples: int, seed: int
) -> tuple[Interval, float]:
    """The mean difference with its interval, and the p-value of the t test that goes with it."""
    if per_pair.empty:
        return unknown(math.nan, "no pairs: the methods share no scope, label split and training seed", level), math.nan
    groups = per_pair.groupby("base_scope", sort=True).indices
    differences = {str(scope): per_pair.difference.to_numpy()[at] for scope, at in groups.items()}
    clusters = {str(scope): blocks.to_numpy()[at] for scope, at in groups.items()}
    interval = stratified_interval(
        differences, mean, level=level, resamples=resamples, seed=seed, clusters=clusters, shared=True
    )
    return interval, t_test_p(differences, clusters)


def t_test_p(differences: Mapping[str, np.ndarray], clusters: Mapping[str, np.ndarray]) -> float:
    """Two-sided p-value that the mean of all differences is 0, by Student's t at Satterthwaite's degrees of freedom.

    Of one scope without clusters it is the paired t test's. With few blocks it leans on their being about normal, as
    the interval's width does; unlike `sign_flip_p` it can be small then.

    Args:
        differences: by scope.
        clusters: block of each; blocks of one name are the same in all scopes.

    Returns:
        NaN where some scope has one block only, or no difference scatters.
    """
    strata = strata_of(differences, clusters, what="differences")
    if no_interval(strata):
        return math.nan
    variance, freedom = jackknife(strata, mean, shared=True)
    if not variance > 0:
        return math.nan
    centre = float(np.concatenate(list(differences.values())).mean())
    return float(2 * stats.t.sf(abs(centre) / math.sqrt(variance), freedom))


def sign_flip_p(differences: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Two-sided sign-flip permutation test that differences are symmetric about 0.

    All 2ⁿ patterns are tried up to `EXACT_SIGNS` differences, beyond that `RANDOM_SIGNS` random ones, the observed one
    among them. (`scipy.stats.permutation_test` does the same, a good deal slower.)

    Args:
        differences: N independent ones.
        seed: of random patterns.

    Returns:
        The p-value and the smallest that N differences can give; NaN and 1 without any.
    """
    number = len(differences)
    if number == 0:
        return math.nan, 1.0
    if number <= EXACT_SIGNS:
        signs = 1 - 2 * ((np.arange(2**number)[:, None] >> np.arange(number)) & 1)
        least = min(1.0, 2.0 / 2**number)
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], size=(RANDOM_SIGNS - 1, number))
        signs = np.concatenate([np.ones((1, number), dtype=int), signs])
        least = 1.0 / RANDOM_SIGNS
    flipped = np.abs(signs @ differences)
    observed = abs(float(differences.sum()))
    return float((flipped >= observed - 1e-9 * max(1.0, observed)).mean()), least
