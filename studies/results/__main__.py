"""Looks after result stores: ``python -m studies.results COMMAND …``, or ``sefar-results``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from sefar.cli import run_reporting_errors
from sefar.errors import ConfigError, nearest
from studies.flags import Parser
from studies.results.compaction import compact
from studies.results.export import ALL, check_known, export
from studies.results.leaderboard import print_report
from studies.results.merge import merge
from studies.results.schema import METRIC, TABLES
from studies.results.store import ResultStore
from studies.results.verify import Finding, verify, wrong

LEADERBOARD = (
    *("number", "role", "stage", "confirms", "train_seed", "status", "error", "parameters", "epochs_done"),
    *("epochs_planned", METRIC, "dev_teacher_top1", "test_student_top1", "test_teacher_top1", "seconds", "log"),
)


def _verify(flags: argparse.Namespace) -> int:
    store = _store(flags)
    findings: list[Finding] = []
    for finding in verify(store, study=flags.study):
        print(finding, flush=True)
        findings.append(finding)
    print(f"{store.uri}: {'something is wrong' if wrong(findings) else 'sound'}")
    return int(wrong(findings))


def _compact(flags: argparse.Namespace) -> int:
    store = _store(flags)
    done = compact(store, study=flags.study)
    print(f"{store.uri}: {done.joined} files joined into {done.written}")
    for count, text in (
        (done.under_way, "trials have not ended and were left alone"),
        (done.kept, "files changed meanwhile and were kept; run compact again"),
        (len(done.torn), "trials or files were left alone because something of theirs is torn; see verify"),
    ):
        if count:
            print(f"{count} {text}")
    return 0


def _merge(flags: argparse.Namespace) -> int:
    sources = [ResultStore(uri) for uri in flags.sources]
    done = merge(ResultStore(flags.store, create=True), sources, rename=flags.rename)
    print(f"{flags.store}: {done.copied} files copied; of {done.there} the rows were there")
    for (uri, study), name in done.renamed.items():
        print(f"study '{study}' of {uri} is now called '{name}'")
    for problem in done.skipped:
        print(f"skipped: {problem}")
    return int(bool(done.skipped))


def _export(flags: argparse.Namespace) -> int:
    store = _store(flags)
    written = export(store, flags.table, flags.path, study=flags.study, scope=flags.scope, force=flags.force)
    for path, rows in written.items():
        print(f"{path}: {rows} rows")
    _skipped(store)
    return int(bool(store.problems()))  # as with merge: the result lacks rows


def _leaderboard(flags: argparse.Namespace) -> int:
    store = _store(flags)
    trials = store.trials(study=flags.study, columns=LEADERBOARD)
    if trials.empty:
        print(f"{store.uri}: no trial has started yet")
    for study, rows in trials.groupby("study"):
        if trials.study.nunique() > 1:
            print(f"\nstudy {study}")
        print_report(rows, sorted(rows.scope.unique()), print)
    return _skipped(store)


def _report(flags: argparse.Namespace) -> int:
    from studies.results.report import write_report  # matplotlib and jinja2, which nothing else here needs

    store = _store(flags)
    studies = [flags.study] if flags.study else sorted({file.study for file in store.files("trials")})
    if not studies:
        raise ConfigError(f"{store.uri}: no trial has started yet; there is nothing to report")
    if flags.out and len(studies) > 1:
        raise ConfigError(f"--out: {store.uri} holds {', '.join(studies)}; choose one with --study")
    for study in studies:
        print(write_report(store, study, flags.out or Path(f"{study}.html")))
    return _skipped(store)


def _store(flags: argparse.Namespace) -> ResultStore:
    """The store of the command line, with the study that was asked for in it."""
    store = ResultStore(flags.store)
    check_known(store, flags.study)
    return store


def _skipped(store: ResultStore) -> int:
    for problem in store.problems():
        print(f"skipped: {problem}", file=sys.stderr)
    return 0


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "verify": (_verify, "read every file and say what is wrong; exit code 1 if anything is"),
    "compact": (_compact, "join the files of trials that have ended; others may read and write meanwhile"),
    "merge": (_merge, "copy other stores into STORE, which is made if need be"),
    "export": (_export, "write a table as one CSV or Parquet file, last attempts only"),
    "report": (_report, "write a page of HTML about a study"),
    "leaderboard": (_leaderboard, "print the leaderboards of each scope"),
}


def parser() -> Parser:
    """The commands and their flags."""
    parser = Parser(prog="sefar-results", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name, (run, text) in COMMANDS.items():
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.set_defaults(run=run)
        one.add_argument("store", metavar="STORE", help="result store, a path or s3://…, gs://…")
        if name == "merge":
            one.add_argument("sources", metavar="OTHER", nargs="+", help="store to copy from")
            one.add_argument("--rename", action="store_true", help="give a study that conflicts a new name")
        else:
            one.add_argument("--study", metavar="NAME", help="only this study")
        if name == "export":
            one.add_argument("table", metavar="TABLE", help=f"{', '.join(TABLES)} or {ALL}")
            one.add_argument(
                "path", metavar="FILE", type=Path, help="*.csv or *.parquet; with all a folder, or {table}.csv"
            )
            one.add_argument("--scope", metavar="SCOPE", help="only this label scope")
            one.add_argument("--force", action="store_true", help="replace files that are there")
        if name == "report":
            one.add_argument("--out", metavar="FILE", type=Path, help="default: STUDY.html")
        one.add_argument("--traceback", action="store_true", help="show where an error came from")
    return parser


def main() -> None:
    """Entry point."""

    def parse_and_run() -> int:
        logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s")
        if (given := sys.argv[1:2]) and not given[0].startswith("-") and given[0] not in COMMANDS:
            raise ConfigError(f"there is no command '{given[0]}'{nearest(given[0], COMMANDS)}")
        flags = parser().parse_args()
        return flags.run(flags)

    sys.exit(run_reporting_errors(parse_and_run, traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
