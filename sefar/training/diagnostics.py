"""Where a network is right and whether it knows: pure functions over labels, probabilities and pseudo-labels.

Shape suffixes: N clips, K classes, M bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sefar.training.regulation import BINS, SPREAD_EDGES

CALIBRATION_BINS = 15  # the number of Guo et al. (arXiv 1706.04599), so that errors compare with published ones


@dataclass(frozen=True)
class Answers:
    """What a network says of N clips.

    Attributes:
        probs_NK: class probabilities, averaged over the views; they give the accuracies and the calibration.
        pseudo_label_N: class it would give the clip's middle view as a teacher, from its stochastic passes.
        confidence_N: mean probability of that class over the passes, in [0, 1].
        spread_N: standard deviation of that probability over the passes.
    """

    probs_NK: np.ndarray
    pseudo_label_N: np.ndarray
    confidence_N: np.ndarray
    spread_N: np.ndarray

    @property
    def predicted_N(self) -> np.ndarray:
        """The most probable class."""
        return self.probs_NK.argmax(1)


def confusion_matrix(label_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> np.ndarray:
    """Clips (K, K) by true class (row) and predicted class (column)."""
    counts_KK = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts_KK, (label_N, predicted_N), 1)
    return counts_KK


def confusion_table(answers: Mapping[str, Answers], label_N: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """The confusion matrix of each network, one below the other.

    Returns:
        A row a network and true class: network, true, then the clips predicted as each class, a column a class name.
    """
    parts = []
    for network, said in answers.items():
        part = pd.DataFrame(confusion_matrix(label_N, said.predicted_N, len(classes)), columns=list(classes))
        part.insert(0, "true", list(classes), allow_duplicates=True)  # a class may be called so too
        part.insert(0, "network", network, allow_duplicates=True)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def per_class_table(answers: Mapping[str, Answers], label_N: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """How each class fares.

    Returns:
        A row a class: label, class_name, clips and, for each network, ``<network>_top1`` in percent (NaN: no clip).
    """
    clips_K = np.bincount(label_N, minlength=len(classes))
    table = pd.DataFrame({"label": range(len(classes)), "class_name": list(classes), "clips": clips_K})
    for network, said in answers.items():
        right_K = np.bincount(label_N[said.predicted_N == label_N], minlength=len(classes))
        table[f"{network}_top1"] = 100 * _ratio(right_K, clips_K)
    return table


def reliability_bins(confidence_N: np.ndarray, right_N: np.ndarray, bins: int = CALIBRATION_BINS) -> pd.DataFrame:
    """Confidence against the share that was right, in equal bins (low, high] of [0, 1].

    Args:
        confidence_N: probability of the predicted class.
        right_N: whether the prediction was right.
        bins: their number M.

    Returns:
        A row a bin, empty ones too: confidence_low, confidence_high, clips, confidence_mean and right_share in [0, 1]
        (NaN without clips).
    """
    edges = np.arange(bins + 1) / bins
    bin_N = _bins_closed_above(confidence_N, edges)
    clips_M = np.bincount(bin_N, minlength=bins)
    return pd.DataFrame(
        {
            "confidence_low": edges[:-1],
            "confidence_high": edges[1:],
            "clips": clips_M,
            "confidence_mean": _ratio(np.bincount(bin_N, confidence_N, minlength=bins), clips_M),
            "right_share": _ratio(np.bincount(bin_N, right_N, minlength=bins), clips_M),
        }
    )


def expected_calibration_error(confidence_N: np.ndarray, right_N: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Mean gap between confidence and accuracy, in percent points: bins of `reliability_bins`, weighted by clips."""
    table = reliability_bins(confidence_N, right_N, bins)
    gaps = (table.right_share - table.confidence_mean).abs().fillna(0)
    return 100 * float((gaps * table.clips).sum() / table.clips.sum())


def reliability_table(answers: Mapping[str, Answers], label_N: np.ndarray) -> pd.DataFrame:
    """`reliability_bins` of each network side by side, columns ``<network>_clips`` and so on."""
    parts = {
        network: reliability_bins(said.probs_NK.max(1), said.predicted_N == label_N)
        for network, said in answers.items()
    }
    return _side_by_side(parts, ["confidence_low", "confidence_high"])


def selection_bins(value_N: np.ndarray, right_N: np.ndarray, edges: np.ndarray, *, keep: str) -> pd.DataFrame:
    """How right pseudo-labels are by a value, and how many a threshold on it keeps.

    Values beyond the outer edges fall into the outer bins.

    Args:
        value_N: confidence or spread.
        right_N: whether the pseudo-label is right.
        edges: M + 1 rising bin edges.
        keep: ``above``: a threshold keeps clips at or above a bin's lower edge, bins are [low, high); ``below``: it
            keeps those at or below the upper edge, bins are (low, high].

    Returns:
        A row a bin, empty ones too: low, high, clips; right_share of the bin's clips; coverage, the share of all clips
        that the bin's threshold keeps; kept_right_share, the share of right ones among these. Shares lie in [0, 1], NaN
        where there is no clip.
    """
    bins = len(edges) - 1
    if keep == "above":
        bin_N = (np.searchsorted(edges, value_N, side="right") - 1).clip(0, bins - 1)
    else:
        bin_N = _bins_closed_above(value_N, edges)
    clips_M = np.bincount(bin_N, minlength=bins)
    right_M = np.bincount(bin_N, right_N, minlength=bins)
    step = -1 if keep == "above" else 1
    kept_M, kept_right_M = (counts_M[::step].cumsum()[::step] for counts_M in (clips_M, right_M))
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "clips": clips_M,
            "right_share": _ratio(right_M, clips_M),
            "coverage": kept_M / len(value_N),
            "kept_right_share": _ratio(kept_right_M, kept_M),
        }
    )


def pseudo_label_table(answers: Mapping[str, Answers], label_N: np.ndarray) -> pd.DataFrame:
    """Accuracy and coverage of pseudo-labels by confidence and by spread: the data behind the paper's Fig. 5.

    The bins are those of the training's regulation table.

    Returns:
        A row a bin: by (``confidence`` or ``spread``), low, high, then `selection_bins` of each network side by side.
    """
    parts: dict[str, pd.DataFrame] = {}
    for network, said in answers.items():
        right_N = said.pseudo_label_N == label_N
        confidence = selection_bins(said.confidence_N, right_N, np.arange(BINS + 1) / BINS, keep="above")
        spread = selection_bins(said.spread_N, right_N, np.array(SPREAD_EDGES), keep="below")
        parts[network] = pd.concat([confidence.assign(by="confidence"), spread.assign(by="spread")], ignore_index=True)
    return _side_by_side(parts, ["by", "low", "high"])


def _bins_closed_above(value_N: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Number of the bin (low, high] of each value; what lies outside goes to the outer bins."""
    return (np.searchsorted(edges, value_N, side="left") - 1).clip(0, len(edges) - 2)


def _ratio(part_M: np.ndarray, whole_M: np.ndarray) -> np.ndarray:
    """Element-wise quotient, NaN where `whole_M` is 0."""
    return np.divide(part_M, whole_M, out=np.full(len(whole_M), np.nan), where=whole_M > 0)


def _side_by_side(parts: Mapping[str, pd.DataFrame], shared: list[str]) -> pd.DataFrame:
    first = next(iter(parts.values()))
    return pd.concat(
        [first[shared], *(part.drop(columns=shared).add_prefix(f"{n}_") for n, part in parts.items())], axis=1
    )
