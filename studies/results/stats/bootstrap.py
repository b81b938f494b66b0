"""Statistics over runs, in one place: means, paired differences and probabilities of improvement with intervals."""

from studies.results.stats.aggregate import RESAMPLES, interquartile_mean, mean, stratified_interval
from studies.results.stats.improvement import probability_of_improvement
from studies.results.stats.interval import LEVEL, Interval
from studies.results.stats.paired import PairedDifference, paired_difference

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Interval",
    "PairedDifference",
    "interquartile_mean",
    "mean",
    "paired_difference",
    "probability_of_improvement",
    "stratified_interval",
]
