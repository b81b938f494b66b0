"""How fast are clips read? Ways to decode, keep and batch them, timed side by side into a table.

    python studies/throughput.py --table docs/throughput.md

It encodes the clips it needs into a temporary folder. The release's way to read needs OpenCV: pip install '.[dev]'.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core a way, so that what is compared is the work
ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

from sefar.cli import run_reporting_errors  # noqa: E402
from sefar.errors import DataError  # noqa: E402
from studies.flags import Parser, at_least, one_of  # noqa: E402
from studies.results.throughput_table import case_table, throughput_page  # noqa: E402
from studies.throughput_cases import Case, decode_cases, loader_cases, store_cases  # noqa: E402

PARTS = {"decode": decode_cases, "store": store_cases, "loader": loader_cases}


def parser() -> Parser:
    """The flags."""
    made = Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add(
        "--what",
        nargs="+",
        type=one_of((*PARTS, "all")),
        default=["all"],
        metavar="PART",
        help="decode, store, loader or all",
    )
    add("--clips", type=at_least(int, 2), default=12, metavar="N", help="clips of each kind: %(default)s")
    add("--repeats", type=at_least(int, 1), default=7, metavar="N", help="times that each is read: %(default)s")
    add("--table", type=Path, metavar="FILE", help="write the tables to this Markdown file too")
    add("--traceback", action="store_true", help="show where an error came from")
    return made


def run(flags: argparse.Namespace) -> None:
    """Measure, print and write.

    Raises:
        DataError: OpenCV is missing, or the table cannot be written.
    """
    cases: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="sefar-throughput-") as folder:
        for name, part in PARTS.items():
            if {name, "all"} & set(flags.what):
                try:
                    found = part(Path(folder), flags.clips, flags.repeats)
                except ModuleNotFoundError as error:
                    raise DataError(f"{error.name} is not installed; pip install '.[dev]' brings it") from error
                for case in found:
                    print(case_table(case), flush=True)
                cases += found
    if flags.table:
        command = shlex.join(["python", "studies/throughput.py", *sys.argv[1:]])
        try:
            flags.table.write_text(throughput_page(cases, command=command), encoding="utf-8")
        except OSError as error:
            raise DataError(f"--table {flags.table}: cannot be written ({error.strerror})") from error


def main() -> None:
    """Entry point."""
    sys.exit(run_reporting_errors(lambda: run(parser().parse_args()), traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
