"""What does a trial cost beyond its training? Inline, with workers, and for what it writes.

    python studies/trial_overhead.py --workers 2

It renders the SynthGym clips it needs, runs a few trials of moments, and prints name=value lines, in seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

from sefar.cli import run_reporting_errors  # noqa: E402
from studies.engine.overhead import measure, measure_writes  # noqa: E402
from studies.flags import Parser, at_least  # noqa: E402


def parser() -> Parser:
    """The flags."""
    made = Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--trials", type=at_least(int, 1), default=4, metavar="N", help="trials that are averaged over: %(default)s")
    add("--epochs", type=at_least(int, 1), default=2, metavar="N", help="of each: %(default)s")
    add("--workers", type=at_least(int, 1), default=1, metavar="N", help="measure trials of N workers too")
    add("--write-epochs", type=at_least(int, 2), default=20, metavar="N", help="of the trial that writes: %(default)s")
    add("--root", default="data", metavar="PATH", help="where the clips lie: %(default)s")
    add("--traceback", action="store_true", help="show where an error came from")
    return made


def run(flags: argparse.Namespace) -> None:
    """Measure and print."""
    found = measure_writes(epochs=flags.write_epochs, root=flags.root)
    for workers in sorted({1, flags.workers}):
        found |= measure(trials=flags.trials, epochs=flags.epochs, workers=workers, root=flags.root)
    for name, value in found.items():
        print(f"{name}={value:.3g}")


def main() -> None:
    """Entry point."""
    sys.exit(run_reporting_errors(lambda: run(parser().parse_args()), traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
