"""How fast is it, and how near to what the machine can do? Benchmarks side by side, into a store and a table.

    python studies/throughput.py --only step,decode --table docs/throughput.md

Each compares its sides in turns and ends in figures, which come last, a line each: ``name=value``. `decode` needs
OpenCV: pip install '.[dev]'.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import os
import shlex
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

# the profiler that counts memory talks about itself and about GPUs that are not there
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

from sefar.cli import run_reporting_errors  # noqa: E402
from sefar.errors import DataError, nearest  # noqa: E402
from sefar.training.device import choose_device  # noqa: E402
from studies.benchmarks.findings import Findings, Options  # noqa: E402
from studies.benchmarks.rows import write_findings  # noqa: E402
from studies.flags import Parser  # noqa: E402
from studies.results.store import ResultStore  # noqa: E402
from studies.results.throughput_table import case_table, figure_line, throughput_page  # noqa: E402

BENCHMARKS = {
    "decode": "studies.benchmarks.decode",
    "store": "studies.benchmarks.store",
    "search": "studies.engine.replay",
    "trial": "studies.engine.trial_benchmark",
    "workers": "studies.benchmarks.workers",
    # from here on this process keeps the memory that it frees
    "loader": "studies.benchmarks.loader",
    "step": "studies.benchmarks.step",
    "passes": "studies.benchmarks.passes",
}
"""In the order in which they run."""


def names(text: str) -> list[str]:
    """An argument's type: names of benchmarks with commas between."""
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    for name in wanted:
        if name not in BENCHMARKS:
            raise argparse.ArgumentTypeError(f"'{name}' is unknown{nearest(name, BENCHMARKS)}")
    if not wanted:
        raise argparse.ArgumentTypeError(f"expected one or more of {', '.join(BENCHMARKS)}")
    return wanted


def parser() -> Parser:
    """The flags."""
    made = Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--device", default="cpu", metavar="NAME", help="where networks run, cpu or cuda: %(default)s")
    add("--quick", action="store_true", help="few repetitions, small sizes")
    add("--only", type=names, default=list(BENCHMARKS), metavar="A,B", help=f"of {', '.join(BENCHMARKS)}")
    add("--store", default="runs/throughput", metavar="URI", help="result store of the rows: %(default)s")
    add("--table", type=Path, metavar="FILE", help="write the tables to this Markdown file too")
    add("--root", default="data", metavar="PATH", help="where the SynthGym clips lie: %(default)s")
    add("--curves", metavar="PATH", help="learning curves that `search` replays: a table, or a result store")
    add("--traceback", action="store_true", help="show where an error came from")
    return made


def run(flags: argparse.Namespace) -> None:
    """Measure, print and write; what is done is in the store even if what comes after fails.

    Raises:
        DataError: a package is missing, or the table cannot be written.
    """
    check(flags)
    device, store = str(choose_device(flags.device)), ResultStore(flags.store, create=True)
    found: list[Findings] = []
    try:
        measure(flags, device, store, found)
    finally:  # what has been measured is told even where what came after has failed
        for figure in (figure for findings in found for figure in findings.figures):
            print(figure_line(figure), flush=True)


def check(flags: argparse.Namespace) -> None:
    """Find what would fail after minutes.

    Raises:
        DataError: OpenCV is missing, the table cannot be written, or there are no curves.
    """
    if "decode" in flags.only and importlib.util.find_spec("cv2") is None:
        raise DataError("decode needs OpenCV: pip install '.[dev]' brings it; or leave it out with --only")
    place = flags.table and (flags.table if flags.table.exists() else flags.table.parent)
    if place and (flags.table.is_dir() or not os.access(place, os.W_OK)):
        raise DataError(f"--table {flags.table}: cannot be written; name a file in a folder that exists")
    if "search" in flags.only:
        importlib.import_module("studies.engine.curves").read_curves(flags.curves)


def measure(flags: argparse.Namespace, device: str, store: ResultStore, found: list[Findings]) -> None:
    """Run the benchmarks one after another and write the table.

    Raises:
        DataError: a package is missing, or the table cannot be written.
    """
    for name in (name for name in BENCHMARKS if name in flags.only):
        with tempfile.TemporaryDirectory(prefix="sefar-throughput-") as folder:
            options = Options(
                device=device, quick=flags.quick, folder=Path(folder), root=flags.root, curves=flags.curves
            )
            try:
                findings = importlib.import_module(BENCHMARKS[name]).run(options)
            except ModuleNotFoundError as error:
                raise DataError(f"{error.name} is not installed; pip install '.[dev]' brings it") from error
        for case in findings.cases:
            print(case_table(case), flush=True)
        write_findings(store, findings, device)
        found.append(findings)
    if flags.table:
        command = shlex.join(["python", "studies/throughput.py", *sys.argv[1:]])
        try:
            flags.table.write_text(throughput_page(found, command=command), encoding="utf-8")
        except OSError as error:
            raise DataError(f"--table {flags.table}: cannot be written ({error.strerror})") from error


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.ERROR)
    sys.exit(run_reporting_errors(lambda: run(parser().parse_args()), traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
