"""What a trial costs beyond its training, measured with trials of the real method that train for moments."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from sefar.config import TrainConfig
from sefar.errors import TrainingError
from sefar.recipes import recipe
from studies.benchmarks.turns import threads
from studies.engine.spec import TrialSpec, scope_slug
from studies.engine.trial_run import RunSettings, TrialRun
from studies.engine.workload import SefarWorkload, Trains
from studies.results.schema import DEFAULT, FAILED
from studies.results.store import ResultStore

FOLDER = "SEFAR_OVERHEAD"  # environment variable: where trials write when they worked
WORKLOAD = "studies.engine.overhead:TimedWorkload"
EVALUATION = "evaluate"


class TimedWorkload(SefarWorkload):
    """The method, whose trainers note when they are at work."""

    def trainer(self, config: TrainConfig, processes: int = 1, **where: Any) -> Trains:
        """As the method's."""
        made = super().trainer(config, processes, **where)
        world = where.get("world")
        return made if world is not None and world.rank else TimedTrainer(made, config)


class TimedTrainer:
    """A trainer that notes when it is at work."""

    def __init__(self, trainer: Trains, config: TrainConfig) -> None:
        self._trainer, self._file = trainer, Path(os.environ[FOLDER], f"{config.seed}.jsonl")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def train_epoch(self) -> Any:
        """Train one epoch."""
        return self._timed("train_epoch")

    def evaluate(self, part: str) -> Any:
        """Metrics and predictions of ``test``."""
        return self._timed(EVALUATION, part)

    def _timed(self, name: str, *arguments: Any) -> Any:
        begin = time.time()
        found = getattr(self._trainer, name)(*arguments)
        with self._file.open("a", encoding="utf-8") as out:
            out.write(json.dumps([name, begin, time.time()]) + "\n")
        return found


def measure(*, trials: int, epochs: int, workers: int, root: str, function: bool = False) -> list[float]:
    """Run trials one after another, as a sweep does.

    Args:
        trials: in all; the first has to wait for Ray's start.
        epochs: of each.
        workers: of each.
        root: of the clips.
        function: as function trainables, of which Tune starts a process each, instead of one reused actor.

    Returns:
        Seconds of each trial beyond its training.

    Raises:
        TrainingError: a trial has failed.
    """
    specs = [_spec(seed, epochs, root) for seed in range(trials)]
    TimedWorkload().prepare(TrainConfig.from_dict(specs[0].config))
    with tempfile.TemporaryDirectory(prefix="sefar-overhead-") as folder:
        os.environ[FOLDER] = folder
        settings = RunSettings(store=ResultStore(f"{folder}/store", create=True).uri, workload=WORKLOAD)
        started = time.time()
        (_run_functions if function else _run_stage)(specs, settings, workers)
        rows = ResultStore(settings.store).trials()
        for row in rows[rows.status == FAILED].to_dict("records"):
            raise TrainingError(f"trial {row['trial_id']} of the benchmark failed: {row['error']}")
        beyond = _beyond_training(Path(folder), started)
        if len(beyond) != trials:
            raise TrainingError(f"{trials - len(beyond)} of {trials} trials of the benchmark left no trace")
        return beyond


def _run_stage(specs: list[TrialSpec], settings: RunSettings, workers: int) -> None:
    from ray.tune.schedulers import FIFOScheduler

    from studies.engine.budget import Budget
    from studies.engine.fixed_search import FixedSearch
    from studies.engine.resources import Share
    from studies.engine.runner import Stage, run_stage
    from studies.engine.session import Cluster, connected

    stage = Stage(
        name="overhead",
        searcher=FixedSearch(specs, {}),
        scheduler=FIFOScheduler(),
        trials=len(specs),
        planned={specs[0].scope: len(specs)},
        epochs=specs[0].config["optim"]["epochs"],
        history=[],
    )
    with connected(Cluster(workers=workers)):
        run_stage(stage, settings, Share(1, 0.0, 1, workers), Budget())


def _run_functions(specs: list[TrialSpec], settings: RunSettings, workers: int) -> None:
    from ray import tune

    from studies.engine.fixed_search import FixedSearch
    from studies.engine.session import Cluster, connected

    with connected(Cluster()), tempfile.TemporaryDirectory(prefix="sefar-overhead-") as files:
        tune.Tuner(
            tune.with_resources(_train_function, {"cpu": workers}),
            param_space={"settings": settings.to_json()},
            tune_config=tune.TuneConfig(
                search_alg=FixedSearch(specs, {}), num_samples=len(specs), max_concurrent_trials=1
            ),
            run_config=tune.RunConfig(name="overhead", storage_path=files, verbose=0),
        ).fit()


def _train_function(config: dict[str, Any]) -> None:
    """A trial as a function trainable."""
    from ray import tune

    torch.set_num_threads(1)
    settings = RunSettings.from_json(config["settings"])
    trial = TrialRun(TrialSpec.from_json(config["spec"]), settings, config["planned"])
    result = trial.step()
    while not result["done"]:
        tune.report(result)
        result = trial.step()
    trial.close()
    tune.report(result)


def measure_writes(*, epochs: int, root: str) -> float:
    """Train one trial here; what lies between its epochs, seconds, is the writing of rows, checkpoint and logs."""
    spec = _spec(0, epochs, root)
    with tempfile.TemporaryDirectory(prefix="sefar-overhead-") as folder:
        os.environ[FOLDER] = folder
        settings = RunSettings(store=ResultStore(f"{folder}/store", create=True).uri, workload=WORKLOAD)
        with threads(1):
            trial = TrialRun(spec, settings, 1)
            while not trial.step()["done"]:
                pass
            trial.close()
        calls = _calls(Path(folder))[0]
    gaps = [after[1] - before[2] for before, after in pairwise(calls)]
    return sum(gaps) / len(gaps)


def _spec(seed: int, epochs: int, root: str) -> TrialSpec:
    changes = {"optim.epochs": epochs, "optim.steps_per_epoch": 1, "objective.warmup_epochs": 0, "seed": seed}
    scope = {"scope.name": "synthgym/event:FX@1pc#0", "scope.root": root, "loader.labelled": 4}
    base = recipe("synthgym_tiny", changes | scope)
    return TrialSpec(
        trial_id=f"overhead.{scope_slug(base.scope.name)}.{seed}",
        study="overhead",
        scope=base.scope.name,
        number=seed,
        role=DEFAULT,
        config=base.to_dict(),
        parameters={},
    )


def _calls(folder: Path) -> list[list[list[Any]]]:
    """What each trial's trainer did, and from when to when; in the order in which they began."""
    found: dict[str, list[list[Any]]] = defaultdict(list)
    for file in folder.glob("*.jsonl"):
        found[file.stem] = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return sorted(found.values(), key=lambda calls: calls[0][1])


def _beyond_training(folder: Path, started: float) -> list[float]:
    """Seconds of each trial in which its trainer was not at work, from the end of the trial before."""
    beyond, before = [], started
    for calls in _calls(folder):
        end = calls[-1][2]
        beyond.append(end - before - sum(to - begin for _, begin, to in calls))
        before = end
    return beyond
