"""Which training clips carry their label, and which are kept apart to choose by (dev).

Everything is decided by clip ids, groups, labels and the split seed alone, so a split is the same on every machine and
for every order of the rows.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from sefar.errors import ScopeError

COVER_EXCESS = 1.25  # whole groups may make so much of the share, if that gives every class a clip
NEXT_GROUPS = 8  # of so many groups, in the seed's order, the one that keeps the shares is taken next


def stable_order(ids: pd.Series, seed: str) -> np.ndarray:
    """Positions of `ids` in a pseudo-random order that depends on the ids and `seed` alone, on every machine."""
    keys = [hashlib.sha256(f"{seed}/{i}".encode()).digest() for i in ids]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def cut_dev(train: pd.DataFrame, fraction: float, *, by_group: bool = True, keep_groups: bool = False) -> set[str]:
    """Clips to choose by, the same for every split seed; every class keeps a clip to train on.

    Whole groups where dev can hold every class that way, else a share of each class.

    Args:
        train: clip table of the training part.
        fraction: share of the clips; 0: none.
        by_group: try whole groups.
        keep_groups: whole groups even where classes are then without a dev clip.
    """
    if fraction == 0:
        return set()
    if by_group or keep_groups:
        groups = pd.Series(sorted(train.group.unique()))
        drawn = set(groups.iloc[stable_order(groups, "dev")[: round(fraction * len(groups))]])
        dev = train.group.isin(drawn)
        if set(train.label[dev]) == set(train.label[~dev]) == set(train.label):
            return set(train.clip_id[dev])
        dev = train.group.isin(set(_groups_for_dev(train, fraction)))
        if keep_groups or set(train.label[dev]) == set(train.label):
            return set(train.clip_id[dev])
    ids: set[str] = set()
    for _, clips in train.groupby("label"):
        count = min(max(1, round(fraction * len(clips))), len(clips) - 1)
        ids |= set(clips.clip_id.iloc[stable_order(clips.clip_id, "dev")[:count]])
    return ids


def choose_labelled_per_class(pool: pd.DataFrame, labels_per_class: int, split_seed: int) -> set[str]:
    """So many clips of each class; a larger number of the same seed holds the smaller.

    Raises:
        ScopeError: a class has not so many.
    """
    sizes = pool.groupby("label").size()
    if (sizes < labels_per_class).any():
        raise ScopeError(
            f"@{labels_per_class}pc: class {sizes.idxmin()} has only {sizes.min()} training clips; ask for fewer "
            "labels per class"
        )
    return _first_of_each_class(pool, pd.Series(labels_per_class, sizes.index), split_seed)


def choose_labelled_share(pool: pd.DataFrame, fraction: float, split_seed: int, sizes: pd.Series) -> set[str]:
    """A share of each class; a larger fraction of the same seed holds the smaller one.

    Each class differs from its share by less than one clip and the total is the share of all clips, rounded; only where
    the total is at least one clip a class, classes with less get one each. The pool may have fewer of a class.

    Args:
        pool: training clips that may be labelled.
        fraction: in (0, 1], of the whole training part.
        split_seed: another seed draws other clips.
        sizes: clips of each label in the whole training part, dev included.
    """
    count_K = apportion(sizes.to_numpy(), fraction)
    if covers(fraction, sizes):
        count_K = count_K.clip(1)
    return _first_of_each_class(pool, pd.Series(count_K, sizes.index), split_seed)


def apportion(size_K: np.ndarray, fraction: float) -> np.ndarray:
    """Clips of each class at a fraction: none shrinks as the fraction grows, none is a whole clip off its share.

    Clips are given out one by one, the h-th where the share of all clips passes h − ½. A class may get its j-th once
    its own share exceeds j − 1 and must have it by j; the nearest deadline comes first. No deadline is ever missed:
    this is R. Tijdeman, "The chairman assignment problem" (1980), at moments half a clip off.
    """
    total = int(size_K.sum())
    count_K = np.zeros_like(size_K)
    for h in range(1, int(round(fraction * total, 9) + 0.5) + 1):  # 0.29 × 100 is a hair below 29
        may_K = 2 * count_K * total < (2 * h - 1) * size_K
        count_K[np.where(may_K, (count_K + 1) / size_K, np.inf).argmin()] += 1
    return count_K


def choose_labelled_groups(pool: pd.DataFrame, fraction: float, split_seed: int, sizes: pd.Series) -> set[str]:
    """Whole groups whose clips come near a share of each class; a larger fraction of the same seed holds the smaller.

    The total is the share of all clips to within half a group, or up to `COVER_EXCESS` of it where so many clips cover
    every class.

    Args:
        pool: training clips that may be labelled.
        fraction: in (0, 1], of the whole training part.
        split_seed: another seed draws other groups.
        sizes: clips of each label in the whole training part, dev included.
    """
    clips_GK = _group_sizes(pool)
    turn = _groups_in_turn(clips_GK, f"label{split_seed}")
    clips_GK = clips_GK.iloc[turn]
    size_G, share = clips_GK.to_numpy().sum(1), fraction * int(sizes.sum())
    count = int((size_G.cumsum() - size_G / 2 <= share).sum())  # the middle of a group decides: rounding
    to_cover = int((clips_GK.to_numpy() > 0).argmax(0).max()) + 1
    if covers(fraction, sizes) and size_G[:to_cover].sum() <= COVER_EXCESS * share:
        count = max(count, to_cover)
    return set(pool.clip_id[pool.group.isin(clips_GK.index[:count])])


def covers(fraction: float, sizes: pd.Series) -> bool:
    """Whether a share of the clips is at least one clip a class."""
    return round(fraction * int(sizes.sum()), 9) >= len(sizes)


def _first_of_each_class(pool: pd.DataFrame, counts: pd.Series, split_seed: int) -> set[str]:
    ids: set[str] = set()
    for label, clips in pool.groupby("label"):
        order = stable_order(clips.clip_id, f"label{split_seed}")
        ids |= set(clips.clip_id.iloc[order[: int(counts.loc[label])]])
    return ids


def _group_sizes(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips of each group (row, sorted) and label (column)."""
    return pd.crosstab(clips.group, clips.label)


def _groups_in_turn(clips_GK: pd.DataFrame, seed: str) -> np.ndarray:
    """Rows of `clips_GK` in an order that soon holds every class, and then about the same share of each.

    Each turn goes to the rarest class without a clip, later to the class furthest behind its share. Of the next few
    groups with that class, in the seed's order, the one is taken that brings most new classes, then the one that leaves
    the shares nearest to each other.
    """
    order = stable_order(clips_GK.index.to_series(), seed)
    sizes_GK = clips_GK.to_numpy()[order]
    class_K, groups_K = sizes_GK.sum(0), (sizes_GK > 0).sum(0)
    waiting = [np.flatnonzero(column).tolist() for column in sizes_GK.T]
    taken_K, free_G = np.zeros_like(class_K), np.ones(len(order), dtype=bool)
    turn: list[int] = []
    while len(turn) < len(order):
        new_K = taken_K == 0
        behind_K = (taken_K.sum() + 1) / class_K.sum() * class_K - taken_K
        behind_K[taken_K == class_K] = -np.inf
        label = int(np.where(new_K, groups_K, len(order) + 1).argmin() if new_K.any() else behind_K.argmax())
        waiting[label] = [g for g in waiting[label] if free_G[g]]
        candidates = waiting[label][:NEXT_GROUPS]
        after_CK = taken_K + sizes_GK[candidates]
        share_CK = after_CK.sum(1, keepdims=True) / class_K.sum()
        uneven_C = ((after_CK - share_CK * class_K) ** 2 / class_K).sum(1)
        new_C = (new_K & (after_CK > 0)).sum(1)
        group = candidates[int(np.lexsort((uneven_C, -new_C))[0])]
        free_G[group] = False
        taken_K = taken_K + sizes_GK[group]
        turn.append(group)
    return order[turn]


def _groups_for_dev(train: pd.DataFrame, fraction: float) -> list[str]:
    """Groups in turn up to a share of the clips, but none that holds the last clips of a class."""
    clips_GK = _group_sizes(train)
    left_K, budget = clips_GK.to_numpy().sum(0), fraction * len(train)
    taken, groups = 0, []
    for position in _groups_in_turn(clips_GK, "dev"):
        row_K = clips_GK.to_numpy()[position]
        if taken + row_K.sum() / 2 <= budget and ((left_K > row_K) | (row_K == 0)).all():
            left_K, taken = left_K - row_K, taken + row_K.sum()
            groups.append(clips_GK.index[position])
    return groups
