"""What runs, what has finished, the best of each scope and the cost so far, read from a store while others write it."""

from __future__ import annotations

import argparse
import datetime
import logging
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# before any installed copy, and never the folder of this script: its modules are found as `studies.…`
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

from sefar.cli import run_reporting_errors  # noqa: E402
from sefar.errors import StoreError  # noqa: E402
from studies.flags import Parser, at_least  # noqa: E402
from studies.results.status import store_status  # noqa: E402
from studies.results.store import ResultStore  # noqa: E402

CLEAR = "\x1b[H\x1b[2J"  # a terminal's screen


def parser() -> Parser:
    """The flags."""
    parser = Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("store", metavar="STORE", help="result store, a path or s3://…, gs://…")
    parser.add_argument("--study", metavar="NAME", help="only this study")
    parser.add_argument(
        "--watch", type=at_least(float, 1), metavar="SECONDS", help="say it anew so often, until Ctrl-C"
    )
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    return parser


def status(flags: argparse.Namespace, width: int) -> str:
    """The text to show.

    Raises:
        ConfigError: there is no such study.
        StoreError: the store cannot be read.
    """
    store = ResultStore(flags.store)
    text = store_status(store, flags.study, datetime.datetime.now(datetime.UTC), width)
    return "\n".join([text, *(f"skipped: {problem}" for problem in store.problems())])


def watch(flags: argparse.Namespace) -> None:
    """Show the state again and again; a store that is not there yet or does not answer is waited for."""
    while True:
        try:
            text = status(flags, shutil.get_terminal_size().columns)
        except StoreError as error:
            text = str(error)
        clock = datetime.datetime.now().strftime("%H:%M:%S")
        print(f"{CLEAR if sys.stdout.isatty() else ''}{clock} {flags.store}\n{text}\n", flush=True)
        time.sleep(flags.watch)


def main() -> None:
    """Entry point."""

    def parse_and_run() -> None:
        logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s")
        flags = parser().parse_args()
        if flags.watch is None:
            print(status(flags, shutil.get_terminal_size().columns))
            return
        try:
            watch(flags)
        except KeyboardInterrupt:
            print()

    sys.exit(run_reporting_errors(parse_and_run, traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
