"""How often the intervals hold the truth, by simulation: what docs/statistics.md states.

python -m studies.results.stats.coverage
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import pandas as pd

from studies.results.stats.aggregate import interquartile_mean, mean, stratified_interval
from studies.results.stats.coverage_others import CASES, percent_covered

SCOPES, RUNS = 6, 5
CENTRES = np.array([30.0, 42.0, 55.0, 63.0, 74.0, 88.0])  # accuracy of each scope, percent
SPREADS = np.array([8.0, 6.0, 4.0, 2.0, 1.0, 0.5])  # of the heteroscedastic scores: few labels scatter most
STATISTICS: dict[str, Callable[..., np.ndarray]] = {"mean": mean, "interquartile mean": interquartile_mean}


def normal(rng: np.random.Generator, runs: int) -> np.ndarray:
    """Scopes × runs, normal, standard deviation 3."""
    return CENTRES[:, None] + 3 * rng.standard_normal((SCOPES, runs))


def skewed(rng: np.random.Generator, runs: int) -> np.ndarray:
    """The same spread with a gamma tail to low accuracies (skewness −1): now and then a run goes worse."""
    return CENTRES[:, None] - 3 * (rng.gamma(4.0, 0.5, size=(SCOPES, runs)) - 2)


def heteroscedastic(rng: np.random.Generator, runs: int) -> np.ndarray:
    """Normal, standard deviations from 8 down to 0.5 over the scopes."""
    return CENTRES[:, None] + SPREADS[:, None] * rng.standard_normal((SCOPES, runs))


def very_skewed(rng: np.random.Generator, runs: int) -> np.ndarray:
    """The same spread with an exponential tail to low accuracies (skewness −2)."""
    return CENTRES[:, None] - 3 * (rng.exponential(size=(SCOPES, runs)) - 1)


def heavy(rng: np.random.Generator, runs: int) -> np.ndarray:
    """A log-normal tail to low accuracies (skewness −6): beyond what five runs can show."""
    return CENTRES[:, None] - 2 * (rng.lognormal(size=(SCOPES, runs)) - np.exp(0.5))


KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": normal,
    "skewed": skewed,
    "heteroscedastic": heteroscedastic,
    "very skewed": very_skewed,
    "heavy tail": heavy,
}


def coverage(
    kind: str, statistic: str, *, simulations: int = 1000, runs: int = RUNS, resamples: int = 500
) -> pd.Series:
    """Share of simulated studies whose interval holds the truth.

    Args:
        kind: of `KINDS`.
        statistic: of `STATISTICS`.
        simulations: number of studies.
        runs: per scope.
        resamples: bootstrap samples of each interval.

    Returns:
        ``scores``, ``statistic``, ``runs``, ``covered`` and ``plain`` (of the uncorrected percentile interval) in
        percent, ``half_width`` in the scores' unit (mean).
    """
    draw, of = KINDS[kind], STATISTICS[statistic]
    truth = float(of(draw(np.random.default_rng(0), 200_000).ravel()))
    held, plain, width = 0, 0, 0.0
    for number in range(simulations):
        rng = np.random.default_rng([1, number])
        scores_SN = draw(rng, runs)
        found = stratified_interval(dict(zip("abcdef", scores_SN, strict=True)), of, resamples=resamples, seed=number)
        held += found.holds(truth)
        width += found.half_width / simulations
        drawn_RSN = np.take_along_axis(scores_SN[None], rng.integers(runs, size=(resamples, SCOPES, runs)), axis=2)
        low, high = np.quantile(of(drawn_RSN.reshape(resamples, -1)), [0.025, 0.975])
        plain += bool(low <= truth <= high)
    shares = {"covered": 100 * held / simulations, "plain": 100 * plain / simulations}
    return pd.Series({"scores": kind, "statistic": statistic, "runs": runs, **shares, "half_width": width})


def main() -> None:
    """Print a table of docs/statistics.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--runs", type=int, nargs="+", default=[RUNS], help="runs a scope")
    parser.add_argument("--others", action="store_true", help="the other intervals instead")
    args = parser.parse_args()
    if args.others:
        print("| interval | holds the truth |\n| --- | --- |")
        for case in CASES:
            print(f"| {case} | {percent_covered(case, args.simulations):.1f} % |", flush=True)
        return
    print("| scores | statistic | runs a scope | corrected | plain percentile |\n| --- | --- | --- | --- | --- |")
    for runs in args.runs:
        for kind in KINDS:
            for statistic in STATISTICS:
                found = coverage(kind, statistic, simulations=args.simulations, runs=runs)
                covered, plain = f"{found.covered:.1f} %", f"{found.plain:.1f} %"
                print(f"| {kind} | {statistic} | {runs} | {covered} | {plain} |", flush=True)


if __name__ == "__main__":
    main()
