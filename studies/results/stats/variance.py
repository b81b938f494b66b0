"""How much of the spread of runs comes from the training seed, and how much from the label split.

Random effects by the method of moments: score = mean + split effect + rest, where the rest is whatever another training
seed on the same split changes. Where every split has the same seeds, an effect that a seed has on all splits is taken
out of the split variance (two-way layout); it counts as seed variance.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

VALUE = "test_student_top1"
COLUMNS = ["base_scope", "method", "mean", "seed_std", "split_std", "total_std", "trials", "note"]


def variance_components(scores: pd.DataFrame, value: str = VALUE) -> pd.DataFrame:
    """Seed and split standard deviations of each method in each scope.

    Args:
        scores: of `tidy_scores`, of one study and stage.
        value: column, in percent.

    Returns:
        ``base_scope``, ``method``, ``mean``; ``seed_std``: of runs on one split that differ in the training seed;
        ``split_std``: what the label split adds to that; ``total_std``: of all runs (n − 1); ``trials``; ``note``:
        what cannot be told apart, or was set to 0. Standard deviations in the column's unit, NaN where not known.

    Raises:
        ValueError: no such column.
    """
    if value not in scores:
        raise ValueError(f"value: scores have no column '{value}'; they have {', '.join(map(str, scores.columns))}")
    rows = []
    for (scope, method), group in scores[scores[value].notna()].groupby(["base_scope", "method"], sort=True):
        scores_N = group[value].to_numpy(dtype=float)
        seed_std, split_std, note = _components(group, value)
        total = float(scores_N.std(ddof=1)) if len(group) > 1 else math.nan
        rows.append([scope, method, float(scores_N.mean()), seed_std, split_std, total, len(group), note])
    return pd.DataFrame(rows, columns=COLUMNS)


def _components(group: pd.DataFrame, value: str) -> tuple[float, float, str]:
    """Seed and split standard deviation of one method in one scope, and what to say of them."""
    notes = []
    if group.duplicated(["split_seed", "train_seed"]).any():
        notes.append("repeats of a split and seed averaged")
    cells = group.groupby(["split_seed", "train_seed"])[value].mean().unstack()
    splits, most = len(cells), int(cells.notna().sum(axis=1).max())
    if cells.size == 1:
        return math.nan, math.nan, "; ".join([*notes, "one run: no spread"])
    if splits == 1:
        seed_std = float(cells.to_numpy().std(ddof=1))
        return seed_std, math.nan, "; ".join([*notes, "one label split: split variance not known"])
    if most == 1:
        return math.nan, math.nan, "; ".join([*notes, _confounded(group)])
    crossed = bool(cells.notna().all(axis=None))
    if not crossed and bool((cells.notna().sum(axis=0) > 1).any()):
        absent = int(cells.isna().to_numpy().sum())
        notes.append(f"{absent} of {cells.size} runs of a crossed layout absent: effects of seeds are not taken out")
    seed_variance, split_variance = _two_way(cells.to_numpy()) if crossed else _one_way(cells)
    if split_variance < 0:
        notes.append(f"split variance estimated at {split_variance:.2g}, set to 0: less than the seeds explain")
    if splits < 4:
        notes.append(f"{splits} splits only: split_std is rough")
    return math.sqrt(seed_variance), math.sqrt(max(split_variance, 0.0)), "; ".join(notes)


def _confounded(group: pd.DataFrame) -> str:
    """What to say where no split has two training seeds."""
    if group.train_seed.nunique() == 1:
        return "one training seed: split_std would hold seed variance too; see total_std"
    return "training seed and label split change together and cannot be told apart; see total_std"


def _two_way(scores_IJ: np.ndarray) -> tuple[float, float]:
    """Variances of seed (with the rest) and split, of I splits × J seeds, each pair once."""
    splits, seeds = scores_IJ.shape
    grand = scores_IJ.mean()
    split_I, seed_J = scores_IJ.mean(axis=1), scores_IJ.mean(axis=0)
    rest_IJ = scores_IJ - split_I[:, None] - seed_J + grand
    square_rest = float((rest_IJ**2).sum()) / ((splits - 1) * (seeds - 1))
    square_split = seeds * float(((split_I - grand) ** 2).sum()) / (splits - 1)
    within = float(((scores_IJ - split_I[:, None]) ** 2).sum()) / (splits * (seeds - 1))
    return within, (square_split - square_rest) / seeds


def _one_way(cells: pd.DataFrame) -> tuple[float, float]:
    """Variances of seed and split where splits have different seeds (unbalanced one-way layout)."""
    by_split = [row[~np.isnan(row)] for row in cells.to_numpy(dtype=float)]
    sizes = np.array([len(row) for row in by_split])
    total, splits = int(sizes.sum()), len(sizes)
    grand = np.concatenate(by_split).mean()
    within = sum(float(((row - row.mean()) ** 2).sum()) for row in by_split) / (total - splits)
    between = sum(len(row) * float((row.mean() - grand) ** 2) for row in by_split) / (splits - 1)
    typical = (total - float((sizes**2).sum()) / total) / (splits - 1)
    return within, (between - within) / typical
