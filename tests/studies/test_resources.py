"""Sharing out cores and GPUs."""

from __future__ import annotations

import pytest

from sefar.errors import ConfigError
from studies.engine.resources import Share, share_out


@pytest.mark.parametrize(
    ("nodes", "gpus", "options", "share"),
    [
        ([2], 0, {}, Share(1, 0.0, 2)),
        ([2], 0, {"concurrency": 1}, Share(2, 0.0, 1)),
        ([8], 0, {"concurrency": 3}, Share(2, 0.0, 3)),
        ([8], 1, {}, Share(8, 1.0, 1)),
        ([16], 4, {"gpus_per_trial": 0.5}, Share(2, 0.5, 8)),
        ([16], 4, {"gpus_per_trial": 2}, Share(8, 2, 2)),
        ([4], 8, {}, Share(1, 1.0, 4)),  # the cores run out first
        ([3, 3], 0, {"concurrency": 3}, Share(1, 0.0, 3)),  # two a trial would leave no node for the third
        ([1], 0, {}, Share(1, 0.0, 1)),
    ],
)
def test_shares(nodes, gpus, options, share):
    assert share_out(nodes, gpus, **options) == share


@pytest.mark.parametrize(
    ("nodes", "gpus", "options", "text"),
    [
        ([2], 0, {"concurrency": 3}, "--concurrency 3: at most 2 trials"),
        ([2], 0, {"gpus_per_trial": 1}, "has 0 GPUs"),
        ([8], 2, {"gpus_per_trial": 1.5}, "--gpus-per-worker"),
        ([8], 2, {"concurrency": 5, "gpus_per_trial": 0.5}, "at most 4 trials run at once on 8 CPUs and 2 GPUs"),
    ],
)
def test_what_cannot_be_had_is_said(nodes, gpus, options, text):
    with pytest.raises(ConfigError, match=text):
        share_out(nodes, gpus, **options)
