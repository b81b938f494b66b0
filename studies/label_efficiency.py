"""How much does each method make of few labels? Fractions × methods × seeds, one after another, into a table.

    python studies/label_efficiency.py --store runs/label_efficiency --table docs/label_efficiency.md
    python studies/label_efficiency.py --labels 1pc 3pc 10pc 25pc --seeds 5 --table fractions.md

SeFAR as the recipe has it, supervised-only, FixMatch on SeFAR's network and on one of a single granularity
(fixmatch_single; the threshold of each chosen at each fraction by mean dev accuracy) and supervised with all labels.
Seed s is both the training seed and the label split's. Finished runs are not run again.
"""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

from sefar.cli import parse_overrides, run_reporting_errors  # noqa: E402
from sefar.config import TrainConfig  # noqa: E402
from sefar.errors import ConfigError  # noqa: E402
from sefar.files import write_whole  # noqa: E402
from sefar.recipes import METHODS, recipe, with_method  # noqa: E402
from studies.engine.grid import GridFailure, GridOptions, GridRun, grid_failures, run_grid  # noqa: E402
from studies.flags import Parser, at_least, listed, one_of  # noqa: E402
from studies.results.comparison import method_table  # noqa: E402
from studies.results.fixmatch import FAMILIES  # noqa: E402
from studies.results.schema import FINISHED  # noqa: E402

STUDY = "label_efficiency"
# the recipe's small rates keep a dozen labels from being learnt by heart; hundreds of labels need larger ones
FULL = ["loader.labelled=32", "optim.learning_rate=8e-4", "optim.fresh_rate=2", "optim.epochs=26"]


def parser() -> Parser:
    """The flags."""
    made = Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--recipe", default="synthgym_tiny", help="named configuration of the runs: %(default)s")
    add("--subset", default="synthgym/core", help="dataset/subset of the scopes: %(default)s")
    add("--labels", nargs="+", default=["1pc"], metavar="FRACTION", help="label fractions, e.g. 1pc 3pc 0.05 0.1: 1pc")
    add("--seeds", type=at_least(int, 1), default=3, metavar="N", help="number of seeds, from 0: %(default)s")
    known = tuple(METHODS)
    add("--methods", "--only", nargs="+", type=one_of(known), default=known, metavar=listed(known), help="default: all")
    thresholds = "FixMatch's candidates at each fraction: 0.5 0.8 0.95"
    add("--thresholds", type=float, nargs="+", default=[0.5, 0.8, 0.95], metavar="τ", help=thresholds)
    add("--full", action=argparse.BooleanOptionalAction, default=True, help="also train on all labels, supervised")
    add("--full-set", nargs="*", default=FULL, metavar="KEY=VALUE", help="settings with all labels")
    add("--store", default="runs/label_efficiency", help="result store, a path or s3://…, gs://…: %(default)s")
    add("--root", default="data", help="folder of the data sets: %(default)s")
    add("--retry-failed", action="store_true", help="take failed runs up again")
    add("--concurrency", type=at_least(int, 1), metavar="N", help="runs at once; default: as many as the cores allow")
    add("--processes", type=at_least(int, 1), default=1, help="processes a run, on CPUs; its name stays")
    add("--table", type=Path, metavar="FILE", help="write the table to this Markdown file too")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of all runs, e.g. optim.epochs=20")
    add("--traceback", action="store_true", help="show where an error came from")
    return made


def check(flags: argparse.Namespace) -> None:
    """Raise a ConfigError for a wrong or doubled fraction, or a setting that the grid sets."""
    for labels in flags.labels:
        if flags.labels.count(labels) > 1 or not re.fullmatch(r"[1-9][0-9]*pc|0?\.[0-9]+", labels):
            raise ConfigError(f"--labels: expected shares (0.05) or clips a class (3pc), each once, got '{labels}'")
    for key in ("scope.name", "scope.root", "seed"):
        if key in parse_overrides((*flags.set, *flags.full_set)):
            raise ConfigError(f"--set {key}: the study sets it; use --subset, --labels, --root or --seeds")


def grid(flags: argparse.Namespace) -> list[GridRun]:
    """All runs, seed by seed, so that a stopped study has whole comparisons."""
    base, runs = recipe(flags.recipe, {"scope.root": flags.root, **parse_overrides(tuple(flags.set))}), []
    if len(base.sampling.frames_per_granularity) == 1 and set(FAMILIES) <= set(flags.methods):
        raise ConfigError(f"with one granularity {listed(tuple(FAMILIES))} are the same; choose one with --methods")

    def add(method: str, labels: str, config: TrainConfig) -> None:
        role = f"{method} @{labels}"  # the method carries FixMatch's threshold
        runs.append(GridRun(study=STUDY, role=role, seed=config.seed, config=config))

    for seed in range(flags.seeds):
        for labels in flags.labels:
            few = base.override({"seed": seed, "scope.name": f"{flags.subset}@{labels}#{seed}"})
            for method in [m for m in METHODS if m in flags.methods]:
                config = with_method(few, method)
                for threshold in flags.thresholds if method in FAMILIES else []:
                    add(f"{method} τ={threshold}", labels, config.override({"weighting.threshold": threshold}))
                if method not in FAMILIES:
                    add(method, labels, config)
        if flags.full and "supervised" in flags.methods:
            whole = base.override({"seed": seed, "scope.name": f"{flags.subset}@1#{seed}"})
            add("supervised", "all", with_method(whole, "supervised").override(parse_overrides(tuple(flags.full_set))))
    return runs


def run(flags: argparse.Namespace) -> None:
    """Run what is missing, then print and write the table."""
    check(flags)
    runs = grid(flags)
    named = {key: getattr(flags, key) for key in ("store", "recipe", "retry_failed", "concurrency", "processes")}
    store = run_grid(runs, GridOptions(**named), lambda line: print(line, flush=True))
    trials = store.trials(study=STUDY)
    mine = trials[trials.trial_id.isin([run.trial_id for run in runs]) & (trials.status == FINISHED)]
    if len(mine):
        text = method_table(mine, command=shlex.join(["python", "studies/label_efficiency.py", *sys.argv[1:]]))
        print(f"\n{text}")
        if flags.table:
            write_whole(flags.table, text)
    if (reason := grid_failures(runs, store)) is not None:
        raise GridFailure(reason)


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.ERROR)
    sys.exit(run_reporting_errors(lambda: run(parser().parse_args()), traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
