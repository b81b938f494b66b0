"""Record the learning curves that the benchmark `search` replays: random points of the default sweep, whole runs.

python studies/record_curves.py --points 32 --table studies/benchmarks/curves.json
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

from sefar.cli import run_reporting_errors  # noqa: E402
from studies.engine.curves import STUDY, curve_study, curves_of_store, points, write_curves  # noqa: E402
from studies.engine.grid import GridFailure, GridOptions, GridRun, grid_failures, run_grid  # noqa: E402
from studies.flags import Parser, at_least  # noqa: E402
from studies.results.schema import SEARCH  # noqa: E402


def parser() -> Parser:
    """The flags."""
    made = Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--points", type=at_least(int, 1), default=32, metavar="N", help="on each scope: %(default)s")
    add("--store", default="runs/curves", metavar="URI", help="where runs are kept; what is there is not run again")
    add("--root", default="data", metavar="PATH", help="where the SynthGym clips lie: %(default)s")
    add("--table", type=Path, required=True, metavar="FILE", help="write the curves to this file")
    add("--concurrency", type=at_least(int, 1), metavar="N", help="runs at once; default: as many as the cores allow")
    add("--traceback", action="store_true", help="show where an error came from")
    return made


def run(flags: argparse.Namespace) -> None:
    """Run what is missing and write the table.

    Raises:
        GridFailure: runs have failed.
    """
    study = curve_study(flags.root)
    runs = [
        GridRun(study=STUDY, role=SEARCH, seed=number, config=study.config(scope, SEARCH, point), parameters=point)
        for number, point in enumerate(points(flags.points))
        for scope in study.scopes.values
    ]
    options = GridOptions(store=flags.store, recipe=study.recipe, concurrency=flags.concurrency)
    store = run_grid(runs, options, lambda line: print(line, flush=True))
    if (reason := grid_failures(runs, store)) is not None:
        raise GridFailure(reason)
    write_curves(curves_of_store(flags.store), flags.table)


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.ERROR)
    sys.exit(run_reporting_errors(lambda: run(parser().parse_args()), traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
