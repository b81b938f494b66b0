"""Splits are nested, near their shares, keep groups whole, and do not depend on the order of the rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sefar.data.splits import (
    apportion,
    choose_labelled_groups,
    choose_labelled_per_class,
    choose_labelled_share,
    covers,
    cut_dev,
)
from sefar.errors import ScopeError

FRACTIONS = st.floats(0.01, 1)


def table(labels: list[int], groups: list[int] | None = None) -> pd.DataFrame:
    clips = pd.DataFrame({"clip_id": [f"c{i}" for i in range(len(labels))], "label": labels})
    return clips.assign(group=[f"g{g}" for g in groups] if groups else clips.clip_id)


def of_sizes(sizes: list[int]) -> pd.DataFrame:
    return table([k for k, size in enumerate(sizes) for _ in range(size)])


def class_sizes(clips: pd.DataFrame) -> pd.Series:
    return clips.groupby("label").size()


@st.composite
def grouped(draw: st.DrawFn) -> pd.DataFrame:
    pairs = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), min_size=1, max_size=80))
    return table([k for k, _ in pairs], [g for _, g in pairs])


@settings(max_examples=200, deadline=None)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12), fractions=st.tuples(FRACTIONS, FRACTIONS))
def test_counts_grow_with_the_fraction_and_stay_within_a_clip(sizes: list[int], fractions: tuple[float, float]) -> None:
    size_K = np.array(sizes)
    low_K, high_K = (apportion(size_K, f) for f in sorted(fractions))
    assert (low_K <= high_K).all() and (high_K <= size_K).all()
    for count_K, fraction in zip((low_K, high_K), sorted(fractions), strict=True):
        assert (np.abs(count_K - fraction * size_K) < 1).all()
        assert abs(count_K.sum() - fraction * size_K.sum()) <= 0.5 + 1e-6


def test_counts_by_hand() -> None:
    # the first clip goes to the class of 3, whose share reaches 1 first; at half of 6, shares are 1.5, 1, 0.5
    assert apportion(np.array([3, 2, 1]), 0.2).tolist() == [1, 0, 0]
    assert apportion(np.array([3, 2, 1]), 0.34).tolist() == [1, 1, 0]
    assert apportion(np.array([3, 2, 1]), 1.0).tolist() == [3, 2, 1]
    assert apportion(np.array([100]), 0.29).tolist() == [29]
    assert apportion(np.array([26320 - 99 * 48] + [48] * 99), 0.05).sum() == 1316


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    fractions=st.tuples(FRACTIONS, FRACTIONS),
    seed=st.integers(0, 3),
    order=st.randoms(use_true_random=False),
)
def test_shares_are_nested_stratified_and_cover(
    sizes: list[int], fractions: tuple[float, float], seed: int, order: object
) -> None:
    clips = of_sizes(sizes)
    low, high = sorted(fractions)
    small, large = (choose_labelled_share(clips, f, seed, class_sizes(clips)) for f in (low, high))
    assert small <= large
    for fraction, chosen in ((low, small), (high, large)):
        count = Counter(clips.label[clips.clip_id.isin(chosen)])
        assert all(abs(count[k] - fraction * size) < 1 for k, size in enumerate(sizes))
        assert not covers(fraction, class_sizes(clips)) or len(count) == len(sizes)
    rows = list(range(len(clips)))
    order.shuffle(rows)  # type: ignore[attr-defined]
    assert choose_labelled_share(clips.iloc[rows], low, seed, class_sizes(clips)) == small


def test_a_share_is_of_the_whole_training_part_as_far_as_the_pool_goes() -> None:
    sizes = pd.Series({0: 20, 1: 10})
    pool = of_sizes([12, 8])
    count = Counter(pool.label[pool.clip_id.isin(choose_labelled_share(pool, 0.5, 0, sizes))])
    assert count == {0: 10, 1: 5}
    assert choose_labelled_share(pool, 0.9, 0, sizes) == set(pool.clip_id)


@settings(max_examples=150, deadline=None)
@given(clips=grouped(), fractions=st.tuples(FRACTIONS, FRACTIONS), seed=st.integers(0, 3))
def test_groups_are_nested_and_not_torn(clips: pd.DataFrame, fractions: tuple[float, float], seed: int) -> None:
    low, high = sorted(fractions)
    sizes = class_sizes(clips)
    small, large = (choose_labelled_groups(clips, f, seed, sizes) for f in (low, high))
    assert small <= large
    assert choose_labelled_groups(clips.iloc[::-1], low, seed, sizes) == small
    chosen = clips.clip_id.isin(small)
    assert not set(clips.group[chosen]) & set(clips.group[~chosen])
    largest = clips.groupby("group").size().max()
    assert (
        low * len(clips) - largest / 2 - 1e-6
        <= len(small)
        <= max(1.25 * low * len(clips), low * len(clips) + largest / 2)
    )
    assert choose_labelled_groups(clips, 1.0, seed, sizes) == set(clips.clip_id)


def test_groups_of_one_class_each_come_near_the_shares_and_cover() -> None:
    # 10 classes of 10 groups of 4 clips: 12 % is 48 of 400 clips, 4.8 of each class, so 12 groups
    labels = [k for k in range(10) for _ in range(40)]
    clips = table(labels, [i // 4 for i in range(400)])
    count = Counter(clips.label[clips.clip_id.isin(choose_labelled_groups(clips, 0.12, 0, class_sizes(clips)))])
    assert sorted(count.values()) == [4] * 8 + [8] * 2
    # 9 % is 36 clips, of which whole groups cover only 9 classes; 40 clips are within a quarter more and cover all
    count = Counter(clips.label[clips.clip_id.isin(choose_labelled_groups(clips, 0.09, 0, class_sizes(clips)))])
    assert count == dict.fromkeys(range(10), 4)
    # 5 % is 20 clips: covering would double them
    assert len(choose_labelled_groups(clips, 0.05, 0, class_sizes(clips))) == 20


def test_other_seeds_choose_other_clips_and_groups() -> None:
    clips = table([k for k in range(3) for _ in range(30)], [i // 3 for i in range(90)])
    for choose in (choose_labelled_share, choose_labelled_groups):
        assert len({frozenset(choose(clips, 0.3, seed, class_sizes(clips))) for seed in range(4)}) == 4


def test_labels_per_class_nest_and_must_be_there() -> None:
    clips = of_sizes([5, 3])
    one, three = (choose_labelled_per_class(clips, n, 0) for n in (1, 3))
    assert one < three and (len(one), len(three)) == (2, 6)
    with pytest.raises(ScopeError, match="@4pc: class 1 has only 3 training clips; ask for fewer labels per class"):
        choose_labelled_per_class(clips, 4, 0)


@settings(max_examples=150, deadline=None)
@given(clips=grouped(), fraction=st.floats(0.01, 0.99), keep_groups=st.booleans())
def test_dev_leaves_every_class_and_is_the_same_for_every_row_order(
    clips: pd.DataFrame, fraction: float, keep_groups: bool
) -> None:
    dev = cut_dev(clips, fraction, keep_groups=keep_groups)
    in_dev = clips.clip_id.isin(dev)
    assert set(clips.label[~in_dev]) == set(clips.label)
    if keep_groups:
        assert not set(clips.group[in_dev]) & set(clips.group[~in_dev])
    assert cut_dev(clips.iloc[::-1], fraction, keep_groups=keep_groups) == dev


def test_dev_takes_whole_groups_where_it_can_hold_every_class_that_way() -> None:
    # a group shows one class, five groups a class: groups drawn at random would miss classes
    clips = table([k for k in range(20) for _ in range(20)], [i // 4 for i in range(400)])
    in_dev = clips.clip_id.isin(cut_dev(clips, 0.2))
    assert class_sizes(clips[in_dev]).tolist() == [4] * 20
    assert not set(clips.group[in_dev]) & set(clips.group[~in_dev])
    # two groups in all, one with the only clip of class 1: no whole group can be spared, so clips are
    clips = table([0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0])
    assert sorted(clips.label[clips.clip_id.isin(cut_dev(clips, 0.2))]) == [0, 1]
    assert cut_dev(clips, 0.2, keep_groups=True) == set()
    assert cut_dev(clips, 0) == set()
