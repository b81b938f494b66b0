"""How much does each method make of few labels? Methods × seeds on one scope, one after another, into a table.

    python studies/label_efficiency.py --store runs/label_efficiency --table docs/label_efficiency.md

SeFAR as the recipe has it, supervised-only, FixMatch (its threshold chosen by mean dev accuracy) and supervised with
all labels. Seed s is both the training seed and the label split's. Finished runs are kept in the store, not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from sefar.cli import parse_overrides, run_reporting_errors
from sefar.config import TrainConfig
from sefar.recipes import recipe, with_method
from studies.engine.spec import TrialSpec
from studies.engine.trial_run import RunSettings, TrialRun
from studies.engine.workload import load_workload
from studies.results.comparison import method_table
from studies.results.schema import FINISHED
from studies.results.store import ResultStore

STUDY = "label_efficiency"
# the recipe's small rates keep a dozen labels from being learnt by heart; hundreds of labels need larger ones
FULL = ["loader.labelled=32", "optim.learning_rate=8e-4", "optim.fresh_rate=2", "optim.epochs=26"]


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of the grid; `method` carries FixMatch's threshold, `labels` what its scope labels."""

    method: str
    labels: str
    seed: int
    config: TrainConfig

    @property
    def spec(self) -> TrialSpec:
        """As a trial of the store."""
        return TrialSpec(
            trial_id=f"{self.method}-{self.labels}-{self.seed}-{self.config.content_hash()}",
            study=STUDY,
            scope=self.config.scope.name,
            number=self.seed,
            role=f"{self.method} @{self.labels}",
            config=self.config.to_dict(),
            parameters={},
        )


def grid(args: argparse.Namespace) -> list[Run]:
    """All runs, seed by seed, so that a stopped study has whole comparisons."""
    base = recipe(args.recipe, {"scope.root": args.root, **parse_overrides(tuple(args.set))})
    runs = []
    for seed in range(args.seeds):
        few = base.override({"seed": seed, "scope.name": f"{args.subset}@{args.labels}#{seed}"})
        whole = few.override({"scope.name": f"{args.subset}@1#{seed}"})
        runs += [Run("sefar", args.labels, seed, few)]
        runs += [Run("supervised", args.labels, seed, with_method(few, "supervised"))]
        for threshold in args.thresholds:
            fixmatch = with_method(few, "fixmatch").override({"weighting.threshold": threshold})
            runs += [Run(f"fixmatch τ={threshold}", args.labels, seed, fixmatch)]
        if args.full:
            all_labels = with_method(whole, "supervised").override(parse_overrides(tuple(args.full_set)))
            runs += [Run("supervised", "all", seed, all_labels)]
    return [r for r in runs if not args.only or r.method.split()[0] in args.only]


def main() -> None:
    """Run what is missing, then print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipe", default="synthgym_tiny")
    parser.add_argument("--subset", default="synthgym/core", help="dataset/subset of the scope")
    parser.add_argument("--labels", default="1pc", help="label fraction of the few-label runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--thresholds", type=float, nargs="*", default=[0.5, 0.8, 0.95], help="FixMatch's candidates")
    parser.add_argument("--full", action=argparse.BooleanOptionalAction, default=True, help="also train on all labels")
    parser.add_argument("--full-set", nargs="*", default=FULL, metavar="KEY=VALUE", help="overrides with all labels")
    parser.add_argument("--only", nargs="*", default=[], help="methods to run: sefar supervised fixmatch")
    parser.add_argument("--store", default="runs/label_efficiency")
    parser.add_argument("--root", default="data")
    parser.add_argument("--concurrency", type=int, default=os.cpu_count() or 1, help="runs at once, one thread each")
    parser.add_argument("--table", type=Path, help="write the table to this Markdown file")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="dotted overrides of the recipe")
    args = parser.parse_args()
    store = ResultStore(args.store, create=True)
    settings = RunSettings(store=args.store, threads=1, study={"recipe": args.recipe})
    runs = grid(args)
    finished = set(store.trials(study=STUDY).query(f"status == '{FINISHED}'").trial_id)
    missing = [run for run in runs if run.spec.trial_id not in finished]
    for run in missing:
        load_workload(settings.workload).prepare(run.config)
    # fresh interpreters: torch must not be forked, and each takes one thread of its own
    with ProcessPoolExecutor(args.concurrency, mp_context=get_context("spawn")) as pool:
        for number, line in enumerate(pool.map(execute, missing, [settings] * len(missing)), 1):
            print(f"[{number}/{len(missing)}] {line}", flush=True)
    mine = [run.spec.trial_id for run in runs]
    trials = store.trials(study=STUDY)
    text = method_table(
        trials[trials.trial_id.isin(mine)], command=" ".join(["python studies/label_efficiency.py", *sys.argv[1:]])
    )
    print(text)
    if args.table:
        args.table.write_text(text, encoding="utf-8")


def execute(run: Run, settings: RunSettings) -> str:
    """Run one trial to its end in this process, on one thread."""
    torch.set_num_threads(1)
    trial = TrialRun(run.spec, settings, 1)
    while not trial.step()["done"]:
        pass
    trial.close()
    row = trial.row
    teacher = row.get("test_teacher_top1", float("nan"))
    scores = f"test student {row['test_student_top1']:.1f} %, teacher {teacher:.1f} %"
    return f"{run.spec.role} seed {run.seed}: {scores}, {row['seconds']:.0f} s"


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    sys.exit(run_reporting_errors(main))
