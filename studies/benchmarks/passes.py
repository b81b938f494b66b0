"""What S costs: the teacher, and the whole step, for S = 1 to 20, both ways (the paper's Table 8 beside it)."""

from __future__ import annotations

from sefar.config import TrainConfig
from sefar.models.granularity import normalise
from sefar.ssl.teacher import ask
from sefar.training.heap import keep_heap
from sefar.training.trainer import Trainer
from studies.benchmarks.findings import Case, Figure, Findings, Options
from studies.benchmarks.plain import PlainCriterion, make_plain
from studies.benchmarks.step import stepping
from studies.benchmarks.synthetic import step_config, synthetic_batch, synthetic_trainer
from studies.benchmarks.turns import Side, in_turns

PASSES = (1, 2, 5, 10, 15, 20)
PAPER = {2: (68.5, 991.6), 5: (75.8, 1005.1), 10: (160.4, 1080.7), 15: (260.1, 1220.6), 20: (361.3, 1417.6)}
"""Milliseconds of the teacher and of an iteration in the paper's Table 8, by S."""


def asking(trainer: Trainer) -> Side:
    """Asks the trainer's teacher each time that it is called."""
    batch, teacher, criterion = synthetic_batch(trainer.config).to(trainer.device), trainer.teacher, trainer.criterion
    assert teacher is not None and batch.weak_BTCHW is not None
    weak = normalise(batch.weak_BTCHW)
    if isinstance(criterion, PlainCriterion):
        return lambda: criterion.ask_plainly(teacher, weak)
    return lambda: ask(teacher, weak, trainer.config.teacher)


def run(options: Options) -> Findings:
    """Time teacher and step at every S, all in turns."""
    changes: dict[str, object] = {"loader.labelled": 4} if options.quick else {}

    def made(passes: int) -> TrainConfig:
        return step_config("tiny", {**changes, "teacher.passes": passes})

    if options.device == "cpu":
        keep_heap()  # as training does
    teacher: dict[str, Side] = {}
    step: dict[str, Side] = {}
    for passes in PASSES:
        for way, finish in (("plain", make_plain), ("ours", lambda trainer: trainer)):
            trainer = finish(synthetic_trainer(made(passes), options.folder, device=options.device))
            teacher[f"{way}, S = {passes}"], step[f"{way}, S = {passes}"] = asking(trainer), stepping(trainer)
    repeats = options.repeats(9, 3)
    cases = [
        _case("The teacher", 0, in_turns(teacher, repeats, device=options.device), "ours, S = 1"),
        _case("A step", 1, in_turns(step, repeats, device=options.device), "ours, S = 1"),
    ]
    ratio = 1 / cases[1].ratio("ours, S = 20")
    return Findings("passes", cases, [Figure(name="passes_cost_ratio", value=ratio, most=1.05)])


def _case(what: str, place: int, seconds: dict[str, list[float]], baseline: str) -> Case:
    paper = {
        f"plain, S = {passes}": f"{times[place]:g} ms, {times[place] / PAPER[2][place]:.2f} × that of S = 2"
        for passes, times in PAPER.items()
    }
    return Case(f"{what} at tiny, by S", seconds, "step", baseline, columns={"the paper's Table 8": paper})
