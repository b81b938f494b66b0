"""Accuracy over clips, clips of one source video or performer kept together.

These intervals say how far the accuracy of *this trained model* may move with other test clips. They do not hold what
another training seed or label split would change: that is `stratified_interval`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from studies.results.stats.aggregate import RESAMPLES
from studies.results.stats.interval import LEVEL, Interval, check_level, from_draws, unknown

NO_GROUPS = "groups are not recorded: each clip counts as its own, so the interval may be too narrow"


def clustered_interval(
    right_N: ArrayLike,
    group_N: ArrayLike | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean over clips, in percent, with an interval from resampling whole groups.

    Args:
        right_N: 1 or True for a clip that is right, 0 for one that is not; differences of two trials go as well.
        group_N: source video or performer of each clip; None: each clip is its own group, and `reason` says so.
        level: of the interval.
        resamples: bootstrap samples.
        seed: of the resampling.

    Raises:
        ValueError: no clips, lengths that differ, or values that are not finite.
    """
    right_N = np.asarray(right_N, dtype=float).ravel()
    if not len(right_N) or not np.isfinite(right_N).all():
        raise ValueError(f"right_N: expected at least one clip, all finite, got {len(right_N)} clips")
    labels_N = np.arange(len(right_N)) if group_N is None else np.asarray(group_N).ravel()
    if len(labels_N) != len(right_N):
        raise ValueError(f"group_N: expected one group a clip, got {len(labels_N)} groups of {len(right_N)} clips")
    reason = NO_GROUPS if group_N is None else ""
    value = 100 * float(right_N.mean())
    index_N, names = pd.factorize(pd.Series(labels_N))
    number = len(names)
    sums_G = np.bincount(index_N, weights=right_N, minlength=number)
    sizes_G = np.bincount(index_N, minlength=number)
    check_level(level)
    if number < 2:
        return unknown(value, "one group only: the spread over groups is not known", level)
    if np.allclose(sums_G, value / 100 * sizes_G):
        return unknown(value, "all groups agree: their spread is not known", level)
    rng = np.random.default_rng(seed)
    counts_RG = rng.multinomial(number, np.full(number, 1 / number), size=resamples)
    draws_R = 100 * (counts_RG @ sums_G) / (counts_RG @ sizes_G)
    draws_R = value + np.sqrt(number / (number - 1)) * (draws_R - value)
    found = from_draws(value, draws_R, level, number - 1, reason)
    if right_N.min() < 0:
        return found  # differences
    low, high = max(found.low, 0.0), min(found.high, 100.0)
    return Interval(value, low, high, level, reason)


def right_clips(predictions: pd.DataFrame, model: str = "student") -> pd.DataFrame:
    """Which clips a trial has right.

    Args:
        predictions: rows of ``predictions`` of one trial and part.
        model: ``student`` or ``teacher``.

    Returns:
        ``clip_id``, ``label``, ``predicted`` (most probable class), ``right`` (bool), ``group`` (clip_id where not
        recorded), in the order given. ``.attrs["groups"]`` says whether groups are recorded.

    Raises:
        ValueError: several trials or parts, no rows, or a model without predictions.
    """
    column = f"{model}_top5"
    if predictions.empty:
        raise ValueError("predictions: expected the rows of one trial, got none")
    for name in ("trial_id", "part"):
        if name in predictions and predictions[name].nunique() > 1:
            shown = ", ".join(map(str, predictions[name].unique()[:3]))
            raise ValueError(f"predictions: expected one {name}, got {shown}; filter the rows")
    if predictions.clip_id.duplicated().any():
        twice = predictions.clip_id[predictions.clip_id.duplicated()].iloc[0]
        raise ValueError(f"predictions: clip '{twice}' stands there twice; expected one row a clip")
    if column not in predictions or predictions[column].map(_empty).any():
        raise ValueError(f"predictions: column '{column}' is missing or has nulls; the trial has no {model}")
    predicted = predictions[column].map(lambda classes: int(classes[0]))
    recorded = "group" in predictions and predictions["group"].notna().all()
    table = pd.DataFrame(
        {
            "clip_id": predictions.clip_id.to_numpy(),
            "label": predictions.label.to_numpy(),
            "predicted": predicted.to_numpy(),
            "right": (predicted == predictions.label).to_numpy(),
            "group": (predictions["group"] if recorded else predictions.clip_id).to_numpy(),
        }
    )
    table.attrs["groups"] = bool(recorded)
    return table


def _empty(classes: object) -> bool:
    return not isinstance(classes, list | tuple | np.ndarray) or len(classes) == 0


def accuracy_interval(
    predictions: pd.DataFrame,
    *,
    model: str = "student",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Top-1 of one trial in percent, groups resampled; see `clustered_interval` and `right_clips`."""
    table = right_clips(predictions, model)
    groups = table.group.to_numpy() if table.attrs["groups"] else None
    return clustered_interval(table.right.to_numpy(), groups, level=level, resamples=resamples, seed=seed)


def clustered_difference(
    predictions_a: pd.DataFrame,
    predictions_b: pd.DataFrame,
    *,
    model: str = "student",
    other_model: str | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Top-1 of trial a minus trial b on the same clips, in percent points, groups resampled.

    Args:
        predictions_a: rows of one trial and part.
        predictions_b: rows of another (or the same) trial on the same clips.
        model: ``student`` or ``teacher``.
        other_model: that of b; None: the same.
        level: of the interval.
        resamples: bootstrap samples.
        seed: of the resampling.

    Raises:
        ValueError: the clips or their labels differ, or see `right_clips`.
    """
    a = right_clips(predictions_a, model)
    b = right_clips(predictions_b, other_model or model)
    only_a, only_b = set(a.clip_id) - set(b.clip_id), set(b.clip_id) - set(a.clip_id)
    if only_a or only_b:
        example = sorted(map(str, only_a or only_b))[0]
        raise ValueError(
            f"predictions: {len(only_a)} clips only in a, {len(only_b)} only in b, for instance '{example}'; "
            "compare trials on the same clips"
        )
    joined = a.merge(b, on="clip_id", suffixes=("_a", "_b"), validate="one_to_one")
    if (joined.label_a != joined.label_b).any():
        clip = joined.clip_id[joined.label_a != joined.label_b].iloc[0]
        raise ValueError(f"predictions: clip '{clip}' has another label in b; compare trials of one scope")
    side = next((s for s, t in (("group_a", a), ("group_b", b)) if t.attrs["groups"]), None)
    difference_N = joined.right_a.astype(float) - joined.right_b.astype(float)
    return clustered_interval(
        difference_N.to_numpy(),
        joined[side].to_numpy() if side else None,
        level=level,
        resamples=resamples,
        seed=seed,
    )
