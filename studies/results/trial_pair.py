"""Which two trials to look at clip by clip."""

from __future__ import annotations

import pandas as pd

from sefar.errors import ConfigError, nearest
from studies.results.confirm import without_split
from studies.results.schema import METRIC
from studies.results.scores import BASELINE, OURS, methods_of


def pair_of_trials(trials: pd.DataFrame, trial: str = "", other: str = "") -> tuple[pd.Series, pd.Series] | None:
    """Those named, or SeFAR and the supervised baseline of one label split and training seed.

    Of several such pairs one of the study and scope with most of them, there the best on dev. Where no pair shares a
    training seed, the best of either on one label split.

    Args:
        trials: rows of ``trials``.
        trial: id of the first; empty: chosen.
        other: id of the second; empty: chosen.

    Returns:
        Their rows, with the column ``method``; None where there are no two to compare.

    Raises:
        ConfigError: no tested trial of that id, or the two are of different label scopes.
    """
    tables = [rows.assign(method=methods_of(rows)) for _, rows in trials.groupby("study")]
    if not tables:
        return None
    tested = pd.concat(tables, ignore_index=True)
    tested = tested[tested.test_student_top1.notna()].sort_values(METRIC, ascending=False, kind="stable")
    first, second = (_named(tested, name) if name else None for name in (trial, other))
    firsts = tested[tested.method == OURS] if first is None else first.to_frame().T
    seconds = tested[tested.method == BASELINE] if second is None else second.to_frame().T
    pairs = firsts.reset_index().merge(seconds.reset_index(), on=["study", "scope"], suffixes=("", "_other"))
    if first is not None and second is not None and pairs.empty:
        raise ConfigError(f"trial, other: '{trial}' and '{other}' are of different studies or label scopes")
    pairs = pairs[pairs["index"] != pairs.index_other]
    if pairs.empty:
        return None
    pairs = pairs.assign(alike=pairs.train_seed == pairs.train_seed_other)
    pairs["number_alike"] = pairs.groupby(["study", pairs.scope.map(without_split)])["alike"].transform("sum")
    order = pairs.sort_values(["alike", "number_alike", METRIC], ascending=False, kind="stable").iloc[0]
    return tested.loc[order["index"]], tested.loc[order.index_other]


def _named(tested: pd.DataFrame, trial_id: str) -> pd.Series:
    found = tested[tested.trial_id == trial_id]
    if found.empty:
        raise ConfigError(
            f"trial '{trial_id}': no such trial that was evaluated on test clips{nearest(trial_id, tested.trial_id)}"
        )
    return found.iloc[0]
