"""How much does each method make of few labels? Methods × seeds on one scope, one after another, into a table.

    python studies/label_efficiency.py --store runs/label_efficiency --table docs/label_efficiency.md

SeFAR as the recipe has it, supervised-only, FixMatch (its threshold chosen by mean dev accuracy) and supervised with
all labels. Seed s is both the training seed and the label split's. Finished runs are kept in the store, not run again.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sefar.cli import parse_overrides, run_reporting_errors
from sefar.config import TrainConfig
from sefar.recipes import recipe, with_method
from studies.engine.grid import GridFailure, GridOptions, GridRun, grid_failures, run_grid
from studies.results.comparison import method_table
from studies.results.schema import FINISHED

STUDY = "label_efficiency"
# the recipe's small rates keep a dozen labels from being learnt by heart; hundreds of labels need larger ones
FULL = ["loader.labelled=32", "optim.learning_rate=8e-4", "optim.fresh_rate=2", "optim.epochs=26"]


def named(method: str, labels: str, config: TrainConfig) -> GridRun:
    """A run of the grid; `method` carries FixMatch's threshold, `labels` what the scope labels."""
    return GridRun(study=STUDY, role=f"{method} @{labels}", seed=config.seed, config=config)


def grid(args: argparse.Namespace) -> list[GridRun]:
    """All runs, seed by seed, so that a stopped study has whole comparisons."""
    base = recipe(args.recipe, {"scope.root": args.root, **parse_overrides(tuple(args.set))})
    runs = []
    for seed in range(args.seeds):
        few = base.override({"seed": seed, "scope.name": f"{args.subset}@{args.labels}#{seed}"})
        whole = few.override({"scope.name": f"{args.subset}@1#{seed}"})
        runs += [named("sefar", args.labels, few)]
        runs += [named("supervised", args.labels, with_method(few, "supervised"))]
        for threshold in args.thresholds:
            fixmatch = with_method(few, "fixmatch").override({"weighting.threshold": threshold})
            runs += [named(f"fixmatch τ={threshold}", args.labels, fixmatch)]
        if args.full:
            all_labels = with_method(whole, "supervised").override(parse_overrides(tuple(args.full_set)))
            runs += [named("supervised", "all", all_labels)]
    return [r for r in runs if not args.only or r.role.split()[0] in args.only]


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
    parser.add_argument("--concurrency", type=int, help="runs at once; default: as many as the cores allow")
    parser.add_argument("--processes", type=int, default=1, help="processes a run, on CPUs; its name stays")
    parser.add_argument("--table", type=Path, help="write the table to this Markdown file")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="dotted overrides of the recipe")
    args = parser.parse_args()
    runs = grid(args)
    options = GridOptions(store=args.store, recipe=args.recipe, concurrency=args.concurrency, processes=args.processes)
    store = run_grid(runs, options, lambda line: print(line, flush=True))
    if (reason := grid_failures(runs, store)) is not None:
        raise GridFailure(reason)
    trials = store.trials(study=STUDY).query(f"status == '{FINISHED}'")
    mine = trials[trials.trial_id.isin([run.trial_id for run in runs])]
    text = method_table(mine, command=" ".join(["python studies/label_efficiency.py", *sys.argv[1:]]))
    print(text)
    if args.table:
        args.table.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    sys.exit(run_reporting_errors(main))
