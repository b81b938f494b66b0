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

ACCURACY, DIFFERENCE = (0.0, 100.0), (-100.0, 100.0)  # what an accuracy and a difference of two can be, percent
FEW_GROUPS = 5  # as which the clips count, below which the interval is said to be rough
NO_GROUPS = "groups are not recorded: each clip counts as its own, so the interval may be too narrow"


def clustered_interval(
    right_N: ArrayLike,
    group_N: ArrayLike | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    bounds: tuple[float, float] = ACCURACY,
) -> Interval:
    """The mean over clips, in percent, with an interval from resampling whole groups.

    Groups of very different size count as fewer: as 1 / Σw² groups, w being their shares of the clips.

    Args:
        right_N: 1 or True for a clip that is right, 0 for one that is not; differences of two trials go as well, with
            `bounds` of `DIFFERENCE`.
        group_N: source video or performer of each clip; None: each clip is its own group, and `reason` says so.
        level: of the interval.
        resamples: bootstrap samples.
        seed: of the resampling.
        bounds: least and greatest mean there can be, percent; the interval stays within.

    Raises:
        ValueError: no clips, lengths that differ, values that are not finite or out of bounds, a clip without group.
    """
    right_N = np.asarray(right_N, dtype=float).ravel()
    if not len(right_N) or not np.isfinite(right_N).all():
        raise ValueError(f"right_N: expected at least one clip, all finite, got {len(right_N)} clips")
    if 100 * right_N.min() < bounds[0] or 100 * right_N.max() > bounds[1]:
        raise ValueError(
            f"right_N: expected values within {bounds[0] / 100:g} and {bounds[1] / 100:g}, got {right_N.min():g} to "
            f"{right_N.max():g}; give bounds={DIFFERENCE} for differences"
        )
    sums_G, sizes_G = _groups(right_N, group_N)
    check_level(level)
    value = 100 * float(right_N.mean())
    if len(sums_G) < 2:
        return unknown(value, "one group only: the spread over groups is not known", level)
    if np.allclose(sums_G, value / 100 * sizes_G):
        return unknown(value, "all groups agree: their spread is not known", level)
    effective = float(sizes_G.sum() ** 2 / (sizes_G**2).sum())
    draws_R = _drawn(sums_G, sizes_G, resamples, np.random.default_rng(seed))
    draws_R = value + np.sqrt(effective / (effective - 1)) * (100 * draws_R - value)
    reasons = [NO_GROUPS] if group_N is None else []
    if effective < FEW_GROUPS:
        reasons.append(f"the clips count as {effective:.1f} groups, so the interval is rough")
    found = from_draws(value, draws_R, level, max(effective - 1, 1.0), "; ".join(reasons))
    return Interval(value, max(found.low, bounds[0]), min(found.high, bounds[1]), level, found.reason)


def _groups(right_N: np.ndarray, group_N: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of clips of each group.

    Raises:
        ValueError: see `clustered_interval`.
    """
    if group_N is None:
        return right_N, np.ones(len(right_N))
    labels = pd.Series(np.asarray(group_N).ravel())
    if len(labels) != len(right_N):
        raise ValueError(f"group_N: expected one group a clip, got {len(labels)} groups of {len(right_N)} clips")
    if labels.isna().any():
        raise ValueError(
            f"group_N: expected a group for every clip, got none for {int(labels.isna().sum())} of {len(labels)}; "
            "give None where groups are not recorded"
        )
    index_N, names = pd.factorize(labels)
    sums_G = np.bincount(index_N, weights=right_N, minlength=len(names))
    return sums_G, np.bincount(index_N, minlength=len(names)).astype(float)


def _drawn(sums_G: np.ndarray, sizes_G: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """R means of as many groups, drawn with replacement; groups that are alike are drawn by their number."""
    kinds_K2, counts_K = np.unique(np.stack([sums_G, sizes_G], axis=1), axis=0, return_counts=True)
    drawn_RK = rng.multinomial(len(sums_G), counts_K / len(sums_G), size=resamples)
    return np.asarray((drawn_RK @ kinds_K2[:, 0]) / (drawn_RK @ kinds_K2[:, 1]))


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
        bounds=DIFFERENCE,
    )
