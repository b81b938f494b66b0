"""What does each part of SeFAR contribute? Named ablations over seeds, with the paper's numbers beside.

    python studies/ablation.py components --seeds 3 --table components.md

Seed s is both the training seed and the label split's. Finished runs are kept in the store, not run again, and shared
by the ablations that have them in common.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import shlex
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

import torch  # noqa: E402

from sefar.cli import parse_overrides, run_reporting_errors  # noqa: E402
from sefar.errors import ConfigError, DataError  # noqa: E402
from sefar.recipes import recipe  # noqa: E402
from studies.arm_grid import ArmGrid  # noqa: E402
from studies.arms import ABLATIONS, ablation  # noqa: E402
from studies.engine.grid import GridFailure, GridOptions, grid_failures, plan_grid, run_grid  # noqa: E402
from studies.engine.workload import DEFAULT_WORKLOAD  # noqa: E402
from studies.flags import Parser  # noqa: E402


def parser() -> Parser:
    """The flags."""
    made = Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    questions = [f"  {name:13} {a.question}{f' ({a.source})' if a.source else ''}" for name, a in ABLATIONS.items()]
    made.epilog = "\n".join(["studies:", *questions])
    add = made.add_argument
    add("study", metavar="STUDY", help=", ".join(ABLATIONS))
    add("--scopes", nargs="+", default=["synthgym/core@1pc"], metavar="SCOPE", help="label scopes without split seed")
    add("--arms", nargs="+", metavar="ARM", help="these arms and the reference alone; default: all")
    add("--recipe", default="synthgym_tiny", help="named configuration that the arms depart from: %(default)s")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of all runs, e.g. optim.epochs=20")
    add("--seeds", type=int, default=3, metavar="N", help="number of seeds, from 0: %(default)s")
    add("--root", default="data", help="folder of the data sets: %(default)s")
    add("--store", default="runs/ablation", help="result store, a path or s3://…, gs://…: %(default)s")
    add("--name", default="ablation", help="name of the study in the store: %(default)s")
    add("--resume", action="store_true", help="insist on going on with runs that the store holds")
    add("--retry-failed", action="store_true", help="take failed runs up again")
    add("--concurrency", type=int, metavar="N", help="runs at once; default: one a core, or one where there is a GPU")
    add("--table", type=Path, metavar="FILE", help="write the tables to this Markdown file too")
    add("--dry-run", action="store_true", help="list the runs with the paper's numbers, and stop")
    add("--traceback", action="store_true", help="show where an error came from")
    return made


def grid_of(flags: argparse.Namespace) -> ArmGrid:
    """The grid that the flags describe.

    Raises:
        ConfigError, ScopeError: a study, arm, recipe, setting or scope that does not exist or does not fit.
    """
    study, settings = ablation(flags.study, flags.arms), parse_overrides(tuple(flags.set))
    for key in sorted(study.keys & settings.keys()):
        raise ConfigError(f"--set {key}: the arms of '{flags.study}' set it; leave it out, or choose with --arms")
    for key, flag in (("scope.name", "--scopes"), ("scope.root", "--root"), ("seed", "--seeds")):
        if key in settings:
            raise ConfigError(f"--set {key}: the study sets it; use {flag}")
    root = flags.root if "://" in flags.root else os.path.abspath(flags.root)
    return ArmGrid(
        name=flags.study,
        ablation=study,
        base=recipe(flags.recipe, {"scope.root": root, **settings}),
        recipe=flags.recipe,
        scopes=tuple(flags.scopes),
        seeds=flags.seeds,
        study=flags.name,
    )


def run(flags: argparse.Namespace) -> None:
    """Run what is missing, print the tables.

    Raises:
        SefarError: bad flags or data, a store or table that cannot be written, runs that failed.
    """
    grid = grid_of(flags)
    named = {key: getattr(flags, key) for key in ("store", "recipe", "resume", "retry_failed", "concurrency")}
    options, runs = GridOptions(workload=flags.workload, **named), grid.runs()
    if flags.dry_run:
        print(grid.describe(plan_grid(runs, options).status))
        return
    store = run_grid(runs, options, lambda line: print(line, flush=True))
    command = shlex.join(["python", "studies/ablation.py", *sys.argv[1:]])
    text = grid.tables(store, made_by=f"`{command}`, torch {torch.__version__}, {platform.machine()}")
    print(f"\n{text}")
    if flags.table:
        try:
            flags.table.parent.mkdir(parents=True, exist_ok=True)
            flags.table.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(
                f"--table {flags.table}: cannot be written ({error.strerror}); the runs are kept"
            ) from error
    if (reason := grid_failures(runs, store)) is not None:
        raise GridFailure(reason)


def main(workload: str = DEFAULT_WORKLOAD) -> None:
    """Entry point; `workload` is what is trained."""

    def parse_and_run() -> None:
        run(parser().parse_args(namespace=argparse.Namespace(workload=workload)))

    logging.basicConfig(level=logging.ERROR)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's stop is as good as Ctrl-C
    sys.exit(run_reporting_errors(parse_and_run, traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
