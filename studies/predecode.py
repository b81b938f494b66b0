"""Decode whole label scopes into a frame store with the CPUs of a cluster, before any trial starts.

The nodes share the store's folder, and each clip is decoded once; or, with --each-node, every node has a folder of its
own and decodes all of them. Run it again after it was stopped, and it decodes what is missing.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# before any installed copy: in a Ray job the working directory holds the code to run
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

from tqdm import tqdm  # noqa: E402

from sefar.cli import parse_overrides, run_reporting_errors  # noqa: E402
from sefar.config import TrainConfig  # noqa: E402
from sefar.data.frame_estimate import Window, announce_fill, distinct_windows  # noqa: E402
from sefar.data.loaders import open_store  # noqa: E402
from sefar.data.scopes import load_scope  # noqa: E402
from sefar.errors import DataError  # noqa: E402
from sefar.recipes import recipe  # noqa: E402
from studies.flags import Parser, at_least, listed, one_of  # noqa: E402


def parser() -> Parser:
    """The flags."""
    parser = Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--scopes", nargs="+", metavar="SCOPE", required=True, help="label scopes, e.g. finegym/gym99@0.05#0")
    add("--recipe", default="synthgym_tiny", help="named configuration; its views say how large frames are kept")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings, e.g. loader.frame_store_folder=/frames")
    add("--root", default="data", help="folder of the data sets, the same on all nodes: %(default)s")
    add(
        "--address",
        type=one_of(("auto", "local")),
        metavar=listed(("auto", "local")),
        help="as of scope_sweep.py; default: auto in a Ray job, else local",
    )
    add("--cpus-per-task", type=at_least(float, 0.1), default=1.0, metavar="N", help="CPUs a task: %(default)s")
    add("--each-node", action="store_true", help="fill the store of every node: its folder is the node's own")
    add("--allow-missing", action="store_true", help="leave out clips that are absent; those that do not decode pass")
    add("--verbose", action="store_true", help="tell what is done")
    add("--traceback", action="store_true", help="show where an error came from")
    return parser


def configurations(flags: argparse.Namespace) -> list[TrainConfig]:
    """A configuration a scope.

    Raises:
        ConfigError, ScopeError: a recipe, scope or setting that does not exist.
    """
    root = flags.root if "://" in flags.root else os.path.abspath(flags.root)
    settings = {"scope.root": root, "scope.allow_missing": flags.allow_missing, **parse_overrides(tuple(flags.set))}
    return [recipe(flags.recipe, {**settings, "scope.name": name}) for name in dict.fromkeys(flags.scopes)]


def windows_of(configs: list[TrainConfig]) -> list[Window]:
    """Every clip of the scopes once."""
    scopes = [load_scope(config.scope) for config in configs]
    return distinct_windows(*(part for s in scopes for part in (s.labelled, s.unlabelled, s.dev, s.test)))


def run(flags: argparse.Namespace) -> int:
    """Fill the store and say what was done; 1 where clips do not decode.

    Raises:
        DataError: clips found no room.
    """
    configs = configurations(flags)
    windows = windows_of(configs)
    store = open_store(configs[0].loader, configs[0].views, configs[0].scope.root)
    announce_fill(store, windows)
    # here, since it takes seconds that a wrong flag does without; in this order: the first sets what Ray reads
    import studies.engine.session  # noqa: F401
    from studies.engine.predecode import fill

    with tqdm(total=None if flags.each_node else len(windows), desc="decoding clips", delay=5, disable=None) as bar:
        filled = fill(
            configs[0],
            windows,
            address=flags.address or ("auto" if os.environ.get("RAY_ADDRESS") else "local"),
            cpus_per_task=flags.cpus_per_task,
            each_node=flags.each_node,
            on_clips=bar.update,
        )
    for line in sorted(filled.failures):
        print(f"does not decode: {line}")
    counts = f"{filled.decoded} decoded ({filled.stored_bytes / 1e9:.2f} GB), {filled.there} were there, "
    print(f"{len(windows)} clips: {counts}{len(filled.failures)} do not decode; {filled.seconds:.1f} s")
    print(f"store: {store.root}" + "".join(f"\n  {host}: {n} clips" for host, n in sorted(filled.hosts.items())))
    for reason, clips in filled.not_kept.items():
        raise DataError(f"{clips} clips are not in the store, which says: {reason}")
    return 1 if filled.failures and not flags.allow_missing else 0


def main() -> None:
    """Entry point."""

    def parse_and_run() -> int:
        flags = parser().parse_args()
        level = logging.INFO if flags.verbose else logging.WARNING
        logging.basicConfig(level=level, format="%(levelname)s: %(message)s")
        return run(flags)

    sys.exit(run_reporting_errors(parse_and_run, traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
