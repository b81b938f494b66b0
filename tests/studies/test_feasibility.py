"""What is said of a run before it starts."""

from __future__ import annotations

import pytest

from sefar.errors import ConfigError
from sefar.recipes import recipe
from studies.engine.feasibility import check_workers, forecast
from studies.engine.resources import Node, Share


def test_what_there_is_and_what_a_trial_takes():
    assert forecast([Node(2)], Share(1, 0.0, 2), 12, 8) == (
        "cluster: 1 node, 2 CPUs, 0 GPUs; a trial takes 1 CPU, 2 at once\n"
        "each trial takes about 0.7 s beyond its training"
    )


def test_how_long_it_may_take():
    said = forecast([Node(16, 4)], Share(2, 0.5, 8), 20, 10, 36.0)
    assert "1 node, 16 CPUs, 4 GPUs; a trial takes 2 CPUs and 0.5 GPUs, 8 at once" in said
    # three rounds of 10 × 36 s + 0.7 s
    assert said.endswith(
        "about 0.7 s beyond its training; 20 trials of 10 epochs at most 0.3 h, less what is stopped early"
    )


def test_workers_are_dearer_to_start():
    said = forecast([Node(8, 4), Node(8, 4)], Share(4, 1.0, 1, workers=4), 3, 10)
    assert "2 nodes, 16 CPUs, 8 GPUs; a trial takes 4 workers of 4 CPUs and 1 GPU, 1 at once" in said
    seconds = float(said.partition("about ")[2].partition(" s")[0])
    assert seconds > 5


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_workers_that_divide_the_batch(workers):
    check_workers(recipe("synthgym_tiny", {"loader.labelled": 8}), workers)


def test_workers_that_do_not_are_refused_with_those_that_do():
    with pytest.raises(ConfigError, match=r"^--workers 3: 8 labelled clips .* give one of 1, 2, 4, 8, or another"):
        check_workers(recipe("synthgym_tiny", {"loader.labelled": 8}), 3)
