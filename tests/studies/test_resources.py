"""Sharing out cores, GPUs and memory."""

from __future__ import annotations

import math

import pytest

from sefar.errors import ConfigError
from studies.engine.resources import Node, Share, free_memory_bytes, share_out

MANY = 1000
GIB = 2**30


@pytest.mark.parametrize(
    ("nodes", "options", "share"),
    [
        ([Node(2)], {}, Share(1, 0.0, 2)),
        ([Node(2)], {"concurrency": 1}, Share(2, 0.0, 1)),
        ([Node(8)], {"concurrency": 3}, Share(2, 0.0, 3)),
        ([Node(8, 1)], {}, Share(8, 1.0, 1)),
        ([Node(16, 4)], {"gpus_per_worker": 0.5}, Share(2, 0.5, 8)),
        ([Node(16, 4)], {"gpus_per_worker": 2}, Share(8, 2, 2)),
        ([Node(4, 8)], {}, Share(1, 1.0, 4)),  # the cores run out first
        ([Node(3), Node(3)], {"concurrency": 3}, Share(1, 0.0, 3)),  # two a trial would leave no node for the third
        ([Node(1)], {}, Share(1, 0.0, 1)),
        ([Node(0), Node(2)], {}, Share(1, 0.0, 2)),
        ([Node(8), Node(2, 4)], {}, Share(1, 1.0, 2)),  # GPUs are of use only beside cores
        ([Node(2, 1), Node(2, 1)], {"gpus_per_worker": 1}, Share(2, 1, 2)),
        ([Node(2)], {"workers": 2}, Share(1, 0.0, 1, workers=2)),
        ([Node(8)], {"workers": 2, "concurrency": 2}, Share(2, 0.0, 2, workers=2)),
        ([Node(3), Node(3)], {"workers": 2}, Share(1, 0.0, 3, workers=2)),  # one trial has a worker on each
        ([Node(0), Node(3), Node(3)], {"workers": 2, "concurrency": 1}, Share(3, 0.0, 1, workers=2)),
        ([Node(16, 4), Node(16, 4)], {"workers": 4}, Share(4, 1.0, 2, workers=4)),
        ([Node(16, 4)], {"workers": 2, "gpus_per_worker": 2}, Share(8, 2, 1, workers=2)),
        ([Node(8, memory_bytes=3.5 * GIB)], {"workers": 2}, Share(4, 0.0, 1, workers=2)),
        ([Node(8, memory_bytes=8.2 * GIB)], {"workers": 2}, Share(2, 0.0, 2, workers=2)),  # drivers want theirs too
    ],
)
def test_shares(nodes, options, share):
    assert share_out(nodes, MANY, **options) == share


def test_no_more_trials_at_once_than_are_left():
    assert share_out([Node(8)], 2) == Share(4, 0.0, 2)
    assert share_out([Node(8)], 2, concurrency=6) == Share(4, 0.0, 2)


def test_memory_bounds_what_nobody_asked_for():
    assert share_out([Node(8, memory_bytes=3.5 * GIB)], MANY) == Share(2, 0.0, 3)
    assert share_out([Node(8, memory_bytes=0.2 * GIB)], MANY) == Share(8, 0.0, 1)
    assert share_out([Node(8, memory_bytes=3.5 * GIB), Node(2, memory_bytes=64 * GIB)], MANY) == Share(2, 0.0, 5)
    assert share_out([Node(8, memory_bytes=3.5 * GIB)], MANY, concurrency=8) == Share(1, 0.0, 8)
    assert 2**20 < free_memory_bytes() <= math.inf


@pytest.mark.parametrize(
    ("nodes", "options", "text"),
    [
        ([], {}, "has no CPUs; start a node"),
        ([Node(0, 2)], {}, "has no CPUs; start a node"),
        ([Node(2)], {"concurrency": 3}, "--concurrency 3: at most 2 trials"),
        ([Node(2)], {"gpus_per_worker": 1}, "has 0 GPUs"),
        ([Node(8, 2)], {"gpus_per_worker": 1.5}, "--gpus-per-worker"),
        ([Node(8, 1), Node(8, 1)], {"gpus_per_worker": 2}, "no node has .*the most on a node: 1"),
        ([Node(0, 2), Node(4)], {"gpus_per_worker": 1}, "no node has a CPU and so many GPUs"),
        ([Node(2)], {"workers": 3}, "--workers 3: only 2 workers run at once on 2 CPUs; give --workers 2 or start"),
        ([Node(2)], {"workers": 2, "concurrency": 2}, "--concurrency 2: at most 1 trials of 2 workers run at once"),
        ([Node(8, 2)], {"workers": 3}, "--workers 3: only 2 workers run at once on 8 CPUs and 2 GPUs at 1 a worker"),
        ([Node(8, 2)], {"workers": 2, "gpus_per_worker": 0.5}, "cannot share a GPU"),
        ([], {}, "where an autoscaler brings nodes it may have none yet"),
        (
            [Node(8, 2)],
            {"concurrency": 5, "gpus_per_worker": 0.5},
            "at most 4 trials run at once on 8 CPUs and 2 GPUs",
        ),
    ],
)
def test_what_cannot_be_had_is_said(nodes, options, text):
    with pytest.raises(ConfigError, match=text):
        share_out(nodes, MANY, **options)
