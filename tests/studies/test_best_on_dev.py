"""The best on dev is chosen over runs that all candidates have."""

from __future__ import annotations

import pandas as pd
import pytest

from studies.results.best_on_dev import order_on_dev


def scores(**dev: dict[int, float]) -> pd.DataFrame:
    """Dev accuracy by method and seed, which is the label split's too."""
    rows = [
        {"base_scope": "synthgym/core@1pc", "split_seed": s, "train_seed": s, "method": m, "dev_student_top1": value}
        for m, by_seed in dev.items()
        for s, value in by_seed.items()
    ]
    return pd.DataFrame(rows)


def test_an_easy_seed_alone_does_not_win() -> None:
    # plain means: late 90, whole 70; on seed 0, which both have, late is the worse one
    order = order_on_dev(scores(late={0: 90.0}, whole={0: 92.0, 1: 60.0, 2: 58.0}))
    assert order.dev == {"whole": 92.0, "late": 90.0} and order.best == "whole"
    assert (order.shared, order.left_out) == (1, 2)
    assert order.notes() == [
        "Chosen on dev over the one run that each has in common with the others; 2 further runs are left out of it."
    ]


def test_without_a_shared_seed_the_one_with_most_runs_comes_first() -> None:
    order = order_on_dev(scores(lone={5: 99.0}, twice={0: 60.0, 1: 62.0}, other={3: 99.0}))
    assert list(order.dev) == ["twice", "lone", "other"] and order.tied == ["twice"]
    assert order.notes() == [
        "No label split and training seed is shared by all, so the one with most runs comes first: twice (2 runs)."
    ]


def test_ties_are_said_and_go_by_name() -> None:
    order = order_on_dev(scores(b={0: 60.0, 1: 64.0}, a={0: 63.0, 1: 61.0}, c={0: 10.0, 1: 10.0}))
    assert order.best == "a" and order.tied == ["a", "b"] and order.left_out == 0
    assert order.notes(str.upper) == ["Equally good on dev: A, B."]


def test_nothing_to_say_and_nothing_known() -> None:
    even = order_on_dev(scores(a={0: 60.0, 1: 64.0}, b={0: 50.0, 1: 50.0}))
    assert even.dev == {"a": pytest.approx(62), "b": 50.0} and even.notes() == []
    assert order_on_dev(scores(a={0: 60.0})).notes() == []
    unknown = order_on_dev(scores(a={0: float("nan")}))
    assert unknown.best is None and unknown.notes() == [] and unknown.tied == []
    # a run that was not evaluated on dev is none
    assert order_on_dev(scores(a={0: 60.0}, b={0: float("nan")})).dev == {"a": 60.0}
