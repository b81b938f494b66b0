"""Run the notebooks on result stores, and write what they show as HTML.

    python studies/notebooks.py                                   # on the stores below runs/
    python studies/notebooks.py 03_how_many_labels --store s3://bucket/results

Each notebook asks one question. Where a store lacks what it needs, it says so in a sentence and goes on.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# before any installed copy, and never the folder of this script: its modules are found as `studies.…`
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

from sefar.cli import run_reporting_errors  # noqa: E402
from sefar.errors import ConfigError, nearest  # noqa: E402
from studies.flags import Parser, at_least  # noqa: E402

FOLDER = ROOT / "notebooks"


def parser() -> Parser:
    """The flags."""
    made = Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("names", nargs="*", metavar="NOTEBOOK", help="of notebooks/, without the ending; default: all")
    add("--store", nargs="+", default=[], metavar="URI", help="result stores; default: those of the studies in runs/")
    add("--study", nargs="+", default=[], metavar="NAME", help="only these studies")
    add("--root", default="data", help="folder of the data sets, for pictures of clips: %(default)s")
    add("--out", type=Path, default=Path("runs/notebooks"), metavar="DIR", help="where the pages go: %(default)s")
    add("--code", action="store_true", help="show the cells' code too; the notebooks beside the pages have it anyway")
    add("--cell-seconds", type=at_least(int, 1), default=600, metavar="N", help="longest a cell may take: %(default)s")
    add("--traceback", action="store_true", help="show where an error came from")
    return made


def chosen(names: list[str]) -> list[Path]:
    """The notebooks asked for, in the order of their numbers.

    Raises:
        ConfigError: there is none of that name.
    """
    there = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
    for name in names:
        if name not in there:
            raise ConfigError(f"notebook '{name}': there is none{nearest(name, there)}")
    return [path for name, path in there.items() if not names or name in names]


def whole_path(place: str) -> str:
    """A local path as it is from anywhere; a notebook runs in the project's folder."""
    return place if "://" in place else os.path.abspath(place)


def run(flags: argparse.Namespace) -> None:
    """Execute the notebooks, one page each.

    Raises:
        ConfigError: no such notebook, or the packages of the extra ``notebooks`` are missing.
        SefarError: a cell failed, or the pages cannot be written.
    """
    try:
        from studies.results.pages import write_page
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed; pip install '.[notebooks]' brings it") from error
    stores = [whole_path(store) for store in flags.store]
    parameters = {"stores": stores, "studies": flags.study, "root": whole_path(flags.root)}
    for notebook in chosen(flags.names):
        print(f"{notebook.stem} …", end=" ", flush=True)
        page = write_page(notebook, flags.out, parameters, code=flags.code, cell_seconds=flags.cell_seconds)
        print(page, flush=True)


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.ERROR)
    sys.exit(run_reporting_errors(lambda: run(parser().parse_args()), traceback="--traceback" in sys.argv))


if __name__ == "__main__":
    main()
