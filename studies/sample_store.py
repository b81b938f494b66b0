"""Makes the small result store that tests, notebooks and reports are tried on.

    python studies/sample_store.py --out tests/data/sample_store

A sweep, a label-efficiency study and two ablations on SynthGym, each as its own script runs it, with trainings of
seconds: enough for every table to have rows and every figure something to draw, too little for any finding. Trials
already in the work folder are not run again. What tells of the machine is replaced by neutral values.
"""

from __future__ import annotations

import argparse
import io
import logging
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "studies")]

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from sefar.cli import run_reporting_errors  # noqa: E402
from sefar.errors import DataError  # noqa: E402
from sefar.files import write_whole  # noqa: E402
from studies.results.compacted import compacted_name  # noqa: E402
from studies.results.compaction import compact  # noqa: E402
from studies.results.store import MARKER, ResultStore  # noqa: E402

SHORT = "optim.steps_per_epoch=8 loader.labelled=6 evaluation.views=1"
GRID = f"optim.epochs=4 objective.warmup_epochs=1 {SHORT}"
STUDIES = {
    "sweep": "studies/scope_sweep.py --preset quick --name sweep --trials 8 --epochs 4 --confirm 1 --confirm-seeds 2 "
    f"--confirm-splits 2 --set {SHORT}",
    "label_efficiency": "studies/label_efficiency.py --labels 1pc 3pc 10pc --thresholds 0.5 "
    "--methods sefar supervised fixmatch "
    f"--full-set loader.labelled=24 --set {GRID}",
    "perturbations": f"studies/ablation.py perturbations --arms none shuffle_fine warp reverse_fine_50 --set {GRID}",
    "thresholds": f"studies/ablation.py thresholds --arms tau_0 tau_0.5 tau_0.95 --set {GRID}",
}
HOST, DATA = "sample", "data"
README = """# A small result store, for tests

Trainings of seconds (4 epochs of 8 steps, batches of 6 labelled clips) on SynthGym, so that every table has rows.
They are no findings: nothing here says which method or setting is the better one.

Made by `{command}`
with {versions}.
Host names, paths and the places of log files are replaced by neutral values; nothing else is changed. Times are those
of two cores with other work beside. The studies, each run by its own script:

{studies}
"""


def run_studies(work: Path, names: list[str]) -> None:
    """Run what is missing of the studies, each by its own script, into one store.

    Args:
        work: folder of the clips (``data``) and of the store (``store``).
        names: of `STUDIES`.

    Raises:
        DataError: a script has failed; it has said why.
    """
    for name in names:
        command = [*STUDIES[name].split(), "--root", str(work / "data"), "--store", str(work / "store")]
        done = subprocess.run([sys.executable, *command], cwd=ROOT, check=False)
        if done.returncode:
            raise DataError(f"studies/sample_store.py: '{shlex.join(command)}' ended with code {done.returncode}")


def neutral(table: pa.Table, root: str) -> pa.Table:
    """A table without what tells of the machine that made it: host, log file, folder of the data.

    Args:
        table: rows of any table of a store.
        root: the folder that the data lay in.
    """
    for index, field in enumerate(table.schema):
        values = table.column(index).to_pylist()
        if field.name == "host":
            new = [value and HOST for value in values]
        elif field.name == "log":
            new = [value and f"logs/{Path(value).name}" for value in values]
        elif pa.types.is_string(field.type):
            new = [value and _without(value, root) for value in values]
        else:
            continue
        table = table.set_column(index, field, pa.array(new, field.type))
    return table


def _without(text: str, root: str) -> str:
    return text.replace(f"{root}/", f"{DATA}/").replace(root, DATA)


def leftovers(table: pa.Table) -> Iterator[str]:
    """Absolute paths that texts of a table still hold."""
    for name in table.schema.names:
        if pa.types.is_string(table.schema.field(name).type):
            for value in table.column(name).unique().to_pylist():
                if value and re.search(r"(?<![\w.:)\]])/(home|root|tmp|work|mnt|data|var|usr)/", value):
                    yield f"{name}: {value[:200]}"


def collect(store: ResultStore, out: Path, root: str) -> None:
    """Copy the results of a store, without what tells of the machine, as few files.

    `out` is what it was until the whole copy lies beside it and has passed.

    Args:
        store: to copy.
        out: folder of the copy: new, empty, or a store, which is replaced.
        root: the folder that the data lay in.

    Raises:
        DataError: a text still tells of the machine, or `out` is something else than a store.
    """
    check_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.") as folder:
        fresh, former = Path(folder, "fresh"), Path(folder, "former")
        _copy(store, fresh, root)
        if out.exists():
            out.rename(former)
        fresh.rename(out)


def check_place(out: Path) -> None:
    """Make sure that writing a store to `out` destroys nothing else.

    Raises:
        DataError: it is a file, a link, or a folder that holds something and is no store.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise DataError(f"--out {out}: expected a folder, got a file or link; name another place")
    if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise DataError(
            f"--out {out}: holds files and is no result store (no {MARKER}), and would be replaced; name a new folder"
        )


def _copy(store: ResultStore, out: Path, root: str) -> None:
    for path in store.location.files():
        if not path.endswith(".parquet"):
            continue
        table = neutral(pq.read_table(pa.BufferReader(store.location.read(path)), partitioning=None), root)
        for text in leftovers(table):
            raise DataError(f"{path}: a path of this machine is left ({text}); teach `neutral` of it")
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, out / path, compression="zstd")
    out.mkdir(exist_ok=True)
    (out / MARKER).write_bytes(store.location.read(MARKER))
    compact(ResultStore(str(out)), pause_seconds=0)
    for joined in sorted(out.rglob("compact-*.parquet")):
        shrink(joined)


def shrink(path: Path) -> None:
    """Leave out dictionaries, statistics and Arrow's copy of the schema: most of a file of few rows, many columns."""
    table = pq.read_table(path, partitioning=None)
    buffer = io.BytesIO()
    options: dict[str, Any] = {"use_dictionary": False, "write_statistics": False, "store_schema": False}
    with pq.ParquetWriter(buffer, table.schema, compression="zstd", **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(table.schema.metadata or {})  # which goes with the schema
    data = buffer.getvalue()
    same = pq.read_schema(pa.BufferReader(data)).equals(table.schema, check_metadata=True)
    if same and len(data) < path.stat().st_size:
        path.unlink()
        path.with_name(compacted_name(data)).write_bytes(data)


def readme(store: ResultStore, command: str) -> str:
    """What the store is and what made it."""
    rows = store.trials(columns=["sefar_version", "torch_version", "ray_version", "python_version", "commit"])
    said = {
        what: ", ".join(sorted(set(rows[column].dropna()) - {""}))
        for what, column in (
            ("sefar", "sefar_version"),
            ("commit", "commit"),
            ("Python", "python_version"),
            ("torch", "torch_version"),
            ("Ray", "ray_version"),
        )
    }
    studies = "\n".join(f"- `python {command}`" for command in STUDIES.values())
    versions = ", ".join(f"{what} {value}" for what, value in said.items() if value)
    return README.format(command=command, versions=versions, studies=studies)


def main() -> None:
    """Run what is missing, then write the sample store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the sample store shall lie")
    parser.add_argument("--work", type=Path, default=Path("runs/sample"), help="folder of clips and trainings, kept")
    parser.add_argument("--only", nargs="+", default=list(STUDIES), choices=list(STUDIES), help="these studies alone")
    args = parser.parse_args()
    check_place(args.out)  # before trainings of minutes
    work = args.work.absolute()
    run_studies(work, args.only)
    store = ResultStore(str(work / "store"))
    collect(store, args.out, str(work / "data"))
    # beside the store, which holds nothing but its own files
    said = readme(store, f"python studies/sample_store.py --out {args.out}")
    write_whole(args.out.with_name(args.out.name + ".md"), said)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    sys.exit(run_reporting_errors(main))
