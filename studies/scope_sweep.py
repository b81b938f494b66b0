"""Which perturbation, threshold and regulation suit which label scope? A sweep with one search a scope.

Without flags it starts Ray on this machine, renders the SynthGym clips it needs, runs the preset's trials and ends with
a leaderboard a scope and a picture. Run it again and it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# before any installed copy: in a Ray job the working directory holds the code to run
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

from sefar.cli import run_reporting_errors  # noqa: E402
from sefar.errors import SefarError  # noqa: E402
from studies.engine.dry_run import describe  # noqa: E402
from studies.engine.options import in_ray_job, lasting, study_of, sweep_options, sweep_parser  # noqa: E402
from studies.engine.space import SCOPE_SWEEP  # noqa: E402
from studies.engine.spec import Study  # noqa: E402
from studies.engine.sweep import run_sweep  # noqa: E402
from studies.results.leaderboard import failures, print_report, search_rows  # noqa: E402
from studies.results.schema import RUNNING  # noqa: E402
from studies.results.store import ResultStore  # noqa: E402


def say(text: str = "") -> None:
    """Print to the user."""
    print(text, flush=True)


def run(flags: argparse.Namespace) -> None:
    """Run the study that the flags describe and report on it."""
    study, options = study_of(flags, "scope-sweep", SCOPE_SWEEP), sweep_options(flags)
    if flags.dry_run:
        describe(study, options, say)
        return
    if in_ray_job() and not {flags.store, flags.root} <= {options.store, str(study.base.scope.root)}:
        say(f"results go to {options.store}, clips lie in {study.base.scope.root}: in a Ray job, whose own folder Ray")
        say("deletes, relative paths count from the home folder")
    store = run_sweep(study, options, say)
    report(study, store, flags)


def report(study: Study, store: ResultStore, flags: argparse.Namespace) -> None:
    """Print leaderboards, draw the picture, say what to do next.

    Raises:
        SefarError: every trial, or a trial that everything is compared with, has failed.
    """
    from studies.results.figures.learning_curves import learning_curves

    trials, epochs = store.trials(study=study.name), store.epochs(study=study.name)
    scopes = [s for s in study.scopes.values if (trials.scope == s).any()]
    print_report(trials, scopes, say)
    folder = Path(store.uri).parent if store.location.is_local else Path(lasting("runs"))
    path = folder / f"{study.name}.png"
    try:
        drawn = search_rows(trials).scope.isin(scopes).any()
        picture = str(learning_curves(trials, epochs, scopes, path)) if drawn else "none; no search trial has started"
    except OSError as error:
        picture = f"none; {path} cannot be written ({error.strerror or error}), nothing else is lost"
    say(f"\nstore:   {store.uri}\npicture: {picture}")
    if (reason := failures(trials)) is not None:
        raise SefarError(reason)
    python = os.path.relpath(sys.executable)
    if not flags.extend:
        given = [flag for flag in sys.argv[1:] if flag not in ("--resume", "--retry-failed")]
        more = [] if (trials.status == RUNNING).any() else ["--extend", "4"]
        say(f"next:    {shlex.join([python, os.path.relpath(__file__), *given, *more])}")
    code = f"from studies.results.store import ResultStore as R; print(R({json.dumps(store.uri)}).trials())"
    say(f"read:    {shlex.join([python, '-c', code])}")


def main() -> None:
    """Entry point."""
    traceback = "--traceback" in sys.argv

    def parse_and_run() -> None:
        flags = sweep_parser(__doc__ or "").parse_args()
        level = logging.INFO if flags.verbose else logging.WARNING
        logging.basicConfig(level=level, format="%(levelname)s: %(message)s")
        run(flags)

    sys.exit(run_reporting_errors(parse_and_run, traceback=traceback))


if __name__ == "__main__":
    main()
