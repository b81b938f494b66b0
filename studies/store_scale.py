"""How fast a result store of many trials is read, before and after compaction, and how much memory it takes."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# before any installed copy, and never the folder of this script: its modules are found as `studies.…`
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

import numpy as np  # noqa: E402

from sefar.cli import run_reporting_errors  # noqa: E402
from sefar.errors import ConfigError  # noqa: E402
from sefar.recipes import recipe  # noqa: E402
from studies.flags import Parser, at_least  # noqa: E402
from studies.results.compaction import compact  # noqa: E402
from studies.results.store import ResultStore  # noqa: E402

SCOPES = ("synthgym/core@1pc#0", "synthgym/core@0.05#0", "synthgym/core@0.25#0", "synthgym/event:FX@1pc#0")
LOSSES = (
    "supervised_loss",
    "unlabelled_loss",
    "mix_loss",
    "total_loss",
    "mean_confidence",
    "mean_spread",
    "kept_share",
)
# each is timed in a process of its own, imports and all
TASKS = {
    "leaderboard": "sys.argv = ['x', 'leaderboard', uri]\ntry: main()\nexcept SystemExit as end: assert not end.code",
    "trials": "ResultStore(uri).trials()",
    "trials, two columns": "ResultStore(uri).trials(columns=['status', 'dev_student_top1'])",
    "epochs": "ResultStore(uri).epochs()",
    "epochs, two columns": "ResultStore(uri).epochs(columns=['epoch', 'dev_student_top1'])",
    "epochs of one trial": "ResultStore(uri).epochs(study='scale', trial_id='scale.0.0000')",
}
HEAD = "import os, sys; from studies.results.__main__ import main, ResultStore; uri = sys.argv[1]\n"
# the kernel's own count: that of getrusage would begin with the memory of this process
FOOT = "\nprint(*[x.split()[1] for x in open('/proc/self/status') if 'VmHWM' in x], *os.times()[:2], file=sys.stderr)"


def parser() -> Parser:
    """The flags."""
    parser = Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("store", metavar="STORE", type=Path, help="new folder; holds the store afterwards")
    parser.add_argument("--trials", type=at_least(int, 4), default=2000, metavar="N")
    parser.add_argument("--epochs", type=at_least(int, 1), default=500, metavar="N", help="of each trial")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    return parser


def make(store: ResultStore, trials: int, epochs: int) -> None:
    """Write finished trials with every column that real ones have."""
    config = recipe("synthgym_tiny")
    config_json = json.dumps(config.to_dict())
    columns = {f"config.{key}": value for key, value in config.flatten().items()}
    rng = np.random.default_rng(0)
    for number in range(trials):
        scope = SCOPES[number % len(SCOPES)]
        trial_id = f"scale.{number % len(SCOPES)}.{number:04d}"
        accuracy_E = 60 * (1 - np.exp(-np.arange(1, epochs + 1) / 100)) + rng.normal(0, 1, epochs)
        rows = [{"epoch": e + 1, "step": 10 * e, "dev_student_top1": accuracy_E[e]} for e in range(epochs)]
        losses_EL = rng.random((epochs, len(LOSSES)))
        for row, losses_L in zip(rows, losses_EL, strict=True):
            row.update(zip(LOSSES, losses_L, strict=True))
        writer = store.writer("scale", scope, trial_id)
        writer.write("epochs", rows)
        row = {"number": number, "stage": "search", "role": "search", "status": "finished", "seconds": 60.0}
        row |= {"dev_student_top1": accuracy_E[-1], "test_student_top1": accuracy_E[-1] - 1}
        row |= {"parameters": json.dumps({"weighting.threshold": rng.random()}), "config_json": config_json}
        writer.trial(row | columns | {"epochs_planned": epochs, "epochs_done": epochs})


def measure(uri: str) -> None:
    """Print wall time, processor time and peak memory of each task."""
    for name, code in TASKS.items():
        started = time.perf_counter()
        command = [sys.executable, "-c", HEAD + code + FOOT, uri]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise ConfigError(f"{name}: {done.stderr.strip().splitlines()[-1]}")
        seconds = time.perf_counter() - started
        kib, user, system = map(float, done.stderr.split()[-3:])
        print(f"  {name:20} {seconds:6.2f} s, of a processor {user + system:5.2f} s  {kib / 1024:5.0f} MiB", flush=True)


def run(flags: argparse.Namespace) -> None:
    """Make the store, measure, compact, measure."""
    if flags.store.exists():
        raise ConfigError(f"{flags.store}: is there already; name a new folder")
    started, store = time.perf_counter(), ResultStore(str(flags.store), create=True)
    make(store, flags.trials, flags.epochs)
    print(f"{flags.trials} trials of {flags.epochs} epochs written in {time.perf_counter() - started:.0f} s")
    print("before compaction")
    measure(store.uri)
    started, done = time.perf_counter(), compact(store)
    print(f"{done.joined} files joined into {done.written} in {time.perf_counter() - started:.1f} s\nafter compaction")
    measure(store.uri)


def main() -> None:
    """Entry point."""

    def parse_and_run() -> None:
        logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s")
        run(parser().parse_args())

    sys.exit(run_reporting_errors(parse_and_run, traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
