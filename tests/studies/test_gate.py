"""Where driver and workers of a distributed trial meet, and what rank 0 does between."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sefar.config import TrainConfig
from sefar.errors import StoreError
from studies.engine.gate import Gate
from studies.engine.trial_run import RunSettings, TrialRun, trial_row
from studies.engine.worker_group import Leader, follow, lead
from studies.results.store import ResultStore
from tests.studies.test_trial_run import BROKEN, only_row, settings_of, spec_of
from tests.studies.toy import ToyTrainer

RESULT = {"epoch": 1, "done": False}


async def settled(task: asyncio.Task[Any]) -> bool:
    for _ in range(20):
        await asyncio.sleep(0)
    return task.done()


def test_no_step_is_taken_that_was_not_asked_for():
    async def play() -> None:
        gate = Gate()
        await gate.begin("r")
        waiting = asyncio.create_task(gate.next_step("r"))
        assert not await settled(waiting)
        asked = asyncio.create_task(gate.ask("r"))
        assert await waiting == (1, None)
        assert not await settled(asked)
        await gate.answer("r", 1, RESULT)
        assert await asked == RESULT
        waiting = asyncio.create_task(gate.next_step("r"))
        assert not await settled(waiting)
        await gate.end()
        assert await waiting is None

    asyncio.run(play())


def test_a_step_that_a_lost_group_was_at_is_left_to_the_next():
    async def play() -> None:
        gate = Gate()
        await gate.begin("r")
        first = asyncio.create_task(gate.ask("r"))
        assert await gate.next_step("r") == (1, None)
        await gate.answer("r", 1, RESULT)
        assert await first == RESULT
        second = asyncio.create_task(gate.ask("r"))
        assert await gate.next_step("r") == (2, 1)  # whoever takes it dies
        assert await gate.next_step("r") == (2, 1)
        await gate.answer("r", 1, {"epoch": 9, "done": True})  # of somebody who thinks it is still the first
        assert not await settled(second)
        await gate.answer("r", 2, {"epoch": 2, "done": True})
        assert await second == {"epoch": 2, "done": True}
        assert await gate.next_step("r") is None  # done is done

    asyncio.run(play())


def test_workers_of_an_earlier_run_are_sent_home():
    async def play() -> None:
        gate = Gate()
        await gate.begin("old")
        late = asyncio.create_task(gate.next_step("old"))
        over = asyncio.create_task(gate.over("old"))
        assert not await settled(over)
        await gate.begin("new")
        assert await late is None
        await over
        asked = asyncio.create_task(gate.ask("new"))
        await settled(asked)
        await gate.answer("old", 1, RESULT)
        await gate.complain("old", "nobody listens", 0.0)
        assert not await settled(asked)
        await gate.answer("new", 1, RESULT)
        assert await asked == RESULT

    asyncio.run(play())


def test_a_complaint_is_heard_when_rank_0_does_not_fail_too():
    async def play() -> None:
        gate = Gate()
        await gate.begin("r")
        asked = asyncio.create_task(gate.ask("r"))
        await settled(asked)
        await gate.complain("r", "worker 1: no such file", 0.01)
        assert await asked == {"done": True, "failed": "worker 1: no such file", "unrecorded": True, "epoch": 0}
        await gate.begin("s")
        asked = asyncio.create_task(gate.ask("s"))
        await settled(asked)
        complaint = asyncio.create_task(gate.complain("s", "worker 1: no such file", 30.0))
        await settled(complaint)
        await gate.answer("s", 1, {"done": True, "failed": "no such file", "epoch": 0})
        await complaint
        assert (await asked)["failed"] == "no such file"

    asyncio.run(play())


# --- rank 0 and the others ---------------------------------------------------------------------------------------


class Tape:
    """A line that nobody is at the other end of."""

    def __init__(self, calls: list[Any] | None = None) -> None:
        self.calls = calls or []

    def send(self, call: Any) -> None:
        self.calls.append(call)

    def receive(self) -> Any:
        return self.calls.pop(0)


def led(tmp_path: Path, steps: list[Any], scope: str | None = None) -> tuple[list[Any], Tape, RunSettings]:
    """What rank 0 answers to steps, and what it told the others."""
    settings, tape, answers = settings_of(tmp_path), Tape(), []
    spec = spec_of(scope) if scope else spec_of()
    todo = iter([*steps, None])

    def open_run() -> TrialRun:
        return TrialRun(spec, settings, 1, lambda config: Leader(ToyTrainer(config), tape))

    lead(open_run, lambda: next(todo), lambda step, result: answers.append((step, result)))
    return answers, tape, settings


def test_the_others_make_the_calls_of_the_trial(tmp_path):
    answers, tape, settings = led(tmp_path, [(1, None), (2, 1), (3, 2)])
    assert [(step, result["epoch"], result["done"]) for step, result in answers] == [
        (1, 1, False),
        (2, 2, False),
        (3, 3, True),
    ]
    assert tape.calls == [("train_epoch", ())] * 3 + [("evaluate", ("test",))]
    assert only_row(settings)["status"] == "finished"
    made: list[ToyTrainer] = []

    def make() -> ToyTrainer:
        made.append(ToyTrainer(TrainConfig.from_dict(spec_of().config)))
        return made[0]

    follow(make, Tape([*tape.calls, None]))
    assert made[0].epoch == 3


def test_an_epoch_that_was_finished_but_not_reported_is_not_trained_again(tmp_path):
    led(tmp_path, [(1, None), (2, 1)])
    settings = RunSettings(store=str(tmp_path / "store"), workload="tests.studies.toy:ToyWorkload")
    tape, answers, todo = Tape(), [], iter([(2, 1), (3, 2), None])
    lead(
        lambda: TrialRun(spec_of(), settings, 1, lambda config: Leader(ToyTrainer(config), tape)),
        lambda: next(todo),
        lambda step, result: answers.append((step, result["epoch"], result["done"])),
    )
    assert answers == [(2, 2, False), (3, 3, True)]
    assert [name for name, _ in tape.calls] == ["load_state_dict", "train_epoch", "evaluate"]
    assert ResultStore(settings.store).epochs().attempt.tolist() == [1, 1, 2]


def test_errors_are_answered_and_recorded(tmp_path):
    answers, _, settings = led(tmp_path, [(1, None)], BROKEN)
    assert answers[0][1]["done"] and "clips/a.mp4" in answers[0][1]["failed"]
    assert only_row(settings)["status"] == "failed"


def test_a_store_that_fails_is_fatal(tmp_path, monkeypatch):
    def full(self: Any, row: Any) -> None:
        raise StoreError("/store: no space left")

    monkeypatch.setattr("studies.results.store.TrialWriter.epoch", full)
    answers, _, _ = led(tmp_path, [(1, None)])
    assert answers == [(1, {"done": True, "failed": "/store: no space left", "fatal": True, "epoch": 0})]


def test_other_errors_end_the_worker_and_the_trial_is_let_go(tmp_path, monkeypatch):
    closed: list[bool] = []
    monkeypatch.setattr(ToyTrainer, "close", lambda self: closed.append(True))
    monkeypatch.setattr(ToyTrainer, "train_epoch", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        led(tmp_path, [(1, None)])
    assert closed == [True]
    row = only_row(RunSettings(store=str(tmp_path / "store")))
    assert row["status"] == "running" and "ZeroDivisionError" in Path(row["log"]).read_text()  # another group goes on


def test_an_end_seen_from_outside_is_recorded_unless_the_trial_has_said_better(tmp_path):
    settings, spec = settings_of(tmp_path), spec_of()
    store = ResultStore(settings.store)

    def record(of: Any, changes: dict[str, Any]) -> Any:
        return store.amend(of.study, of.scope, of.trial_id, changes, trial_row(of, settings, 4))

    assert record(spec, {"status": "failed", "error": "worker 0: died"})
    row = only_row(settings)
    assert (row["status"], row["error"], row["planned"], row["attempt"]) == ("failed", "worker 0: died", 4, 1)
    trial = TrialRun(replace(spec, trial_id="t1"), settings, 4)
    trial.step()
    assert record(trial.spec, {"status": "pruned"})
    rows = ResultStore(settings.store).trials(trial_id="t1").to_dict("records")
    assert [(r["status"], r["epochs_done"]) for r in rows] == [("pruned", 1)]
    assert record(trial.spec, {"status": "failed", "error": "late"}) is None
    assert ResultStore(settings.store).trials(trial_id="t1").status.tolist() == ["pruned"]
