"""The progress line's arithmetic."""

from __future__ import annotations

from types import SimpleNamespace

from sefar.recipes import recipe
from studies.engine.budget import Budget
from studies.engine.history import PastTrial
from studies.engine.progress import ProgressLine
from studies.engine.space import SCOPE_SWEEP
from studies.engine.spec import Axis, Study

FX = "synthgym/event:FX@1pc#0"
EPOCHS = 8
BASE = recipe("synthgym_tiny", {"optim.epochs": EPOCHS, "objective.warmup_epochs": 0})
STUDY = Study(name="s", base=BASE, scopes=Axis(key="scope.name", values=(FX,)), space=SCOPE_SWEEP, trials=2)


def trial_of(number: int) -> SimpleNamespace:
    spec = STUDY.spec(FX, number, "search")
    return SimpleNamespace(trial_id=spec.trial_id, config={"spec": spec.to_json()}, last_result={})


def report(line: ProgressLine, trial: SimpleNamespace, epochs: range) -> None:
    for epoch in epochs:
        trial.last_result = {"epoch": epoch, "dev_student_top1": 10.0 * epoch}
        line.on_trial_result(0, [], trial, trial.last_result)


def test_epochs_of_an_earlier_run_are_no_work_of_this_one():
    interrupted = PastTrial(STUDY.spec(FX, 0, "search"), "running", {5: 50.0}, 2, "h")
    line = ProgressLine({FX: 2}, EPOCHS, [interrupted], Budget())
    resumed, new = trial_of(0), trial_of(1)
    line.on_trial_start(0, [], resumed)
    report(line, resumed, range(6, 8))
    assert (line._worked, line._to_work) == (2, 3 + EPOCHS)
    report(line, resumed, range(8, 9))
    line.on_trial_complete(0, [], resumed)
    line.on_trial_start(0, [], new)
    report(line, new, range(1, 4))
    assert line._to_work - line._worked == 5
    line.on_trial_start(0, [], new)  # its worker died, epoch 3 is trained again
    report(line, new, range(3, 5))
    assert line._to_work - line._worked == 4
    new.last_result = {"epoch": 4, "dev_student_top1": 40.0}
    line.on_trial_complete(0, [], new)  # pruned
    assert line._to_work == line._worked
    assert line.text() == "2/2 trials · 0 running · best dev event:FX@1pc 80.0 %"


def test_a_trial_that_the_budget_stopped_is_not_done():
    budget = Budget(0)
    line, trial = ProgressLine({FX: 2}, EPOCHS, [], budget), trial_of(0)
    line.on_trial_start(0, [], trial)
    report(line, trial, range(1, 4))
    assert budget(trial.trial_id, trial.last_result)
    line.on_trial_complete(0, [], trial)
    assert line.text().startswith("0/2 trials · 0 running") and line._to_work - line._worked == 2 * EPOCHS - 3
