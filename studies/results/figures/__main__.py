"""Draws what a store's studies allow, as PNG and SVG: ``python -m studies.results.figures STORE --out DIR``."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from pathlib import Path

from sefar.cli import run_reporting_errors
from sefar.errors import DataError
from studies.flags import Parser
from studies.results.figures.style import NothingToDraw, save
from studies.results.report.pictures import drawings
from studies.results.report.study import StudyView
from studies.results.store import ResultStore


def draw_store(store: ResultStore, folder: Path, study: str = "") -> tuple[list[Path], list[str]]:
    """Draw every figure that suits the kind of each study.

    Args:
        store: to read.
        folder: where to, one folder a study; made where there is none.
        study: only this one; empty: all.

    Returns:
        The PNG files, each with an SVG beside it; and, for each figure that has nothing to show, why.

    Raises:
        ConfigError: no such study.
        StoreError: the store cannot be read.
        DataError: the folder cannot be written.
    """
    studies = [study] if study else sorted({file.study for file in store.files("trials")})
    written, missing = [], []
    for name in studies:
        for drawing in drawings(StudyView(store, name)):
            stem = re.sub(r"[^\w.=-]+", "_", drawing.name)
            try:
                png, _ = save(drawing.draw(), folder / name / f"{stem}.png")
                written.append(png)
            except NothingToDraw as nothing:
                missing.append(f"{name}/{stem}: {nothing}")
            except OSError as error:
                raise DataError(
                    f"--out {folder}: cannot be written ({error.strerror or error}); name another folder"
                ) from error
    return written, missing


def main() -> None:
    """Draw, and say what was written and what was not."""
    parser = Parser(prog="python -m studies.results.figures", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", help="folder or URI of the store")
    parser.add_argument("--study", default="", help="only this study")
    parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="folder of the pictures")
    flags: argparse.Namespace = parser.parse_args()
    written, missing = draw_store(ResultStore(flags.store), flags.out, flags.study)
    for path in written:
        print(path)
    for line in missing:
        print(f"not drawn: {line}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    sys.exit(run_reporting_errors(main))
