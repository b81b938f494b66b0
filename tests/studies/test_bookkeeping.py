"""How the driver records the ends of trials whose workers died."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from studies.engine.bookkeeping import WORKER_DEATHS, Bookkeeper
from studies.engine.budget import Budget
from studies.engine.trial_run import TrialRun
from studies.results.store import ResultStore
from tests.studies.test_trial_run import only_row, settings_of, spec_of


def dead_trial(deaths: int) -> Any:
    return SimpleNamespace(
        trial_id="t",
        config={"spec": spec_of().to_json(), "planned": 2},
        run_metadata=SimpleNamespace(num_failures=deaths),
        error_file=None,
        last_result={},
    )


@pytest.mark.parametrize(
    ("deaths", "last_pass", "status"),
    [(1, False, "running"), (1, True, "failed"), (WORKER_DEATHS + 1, False, "failed")],
)
def test_a_trial_that_went_down_with_its_node_is_left_for_the_next_pass(tmp_path, deaths, last_pass, status):
    settings = settings_of(tmp_path)
    run = TrialRun(spec_of(), settings, 2)
    run.step()
    run.close()
    bookkeeper = Bookkeeper(settings, Budget(), last_pass=last_pass)
    bookkeeper.on_trial_error(0, [], dead_trial(deaths))
    assert only_row(settings)["status"] == status
    assert bookkeeper.lost == (status == "running")
    assert ResultStore(settings.store).epochs().epoch.tolist() == [1]


def test_an_epoch_forgives_the_deaths_before_it(tmp_path):
    """Tune counts a death, then sees whether it was the last one allowed, and only then calls `on_trial_recover`."""
    bookkeeper, trial = Bookkeeper(settings_of(tmp_path), Budget()), dead_trial(0)

    def epoch(number: int, **more: Any) -> None:
        trial.last_result = {"epoch": number, **more}
        bookkeeper.on_trial_result(0, [], trial, trial.last_result)

    def dies() -> bool:
        trial.run_metadata.num_failures += 1
        if recovers := trial.run_metadata.num_failures <= WORKER_DEATHS:
            bookkeeper.on_trial_recover(0, [], trial)
        return recovers

    for number in range(1, 6):
        epoch(number)
        assert dies()
    epoch(4)  # trained again from an older checkpoint
    epoch(5)
    assert dies() and not dies()
