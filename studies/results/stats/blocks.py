"""What runs share, so that they are no independent witnesses."""

from __future__ import annotations

import re

import pandas as pd

FRACTION = r"@[0-9.]+(?:pc)?\Z"  # end of a scope's name: what it labels


def blocks_of(runs: pd.DataFrame) -> pd.Series:
    """The block of every run: data set and label split; in a scope with one split only, data set and training seed.

    Label sets of one split seed are nested, so runs at several label fractions of a data set share a block.

    Args:
        runs: with ``base_scope``, ``split_seed`` and ``train_seed``, as of `tidy_scores`.

    Returns:
        Tuples, on the runs' index: clusters for `stratified_interval` and `performance_profile`, with ``shared=True``
        where scopes differ in their fraction only.
    """
    one_split = runs.groupby("base_scope").split_seed.transform("nunique") == 1
    seeds = runs.split_seed.where(~one_split, runs.train_seed)
    data = [re.sub(FRACTION, "", str(scope)) for scope in runs.base_scope]
    return pd.Series(list(zip(data, seeds, strict=True)), index=runs.index, dtype=object)
