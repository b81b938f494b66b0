"""Label scopes and what is wrong with their files, as rows and as lines of text."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import permutations
from typing import Any

from sefar.data.annotations.checks import find_crossed_splits, find_label_offset
from sefar.data.datasets import DATASETS, Source, known_scopes, read_source, source_name
from sefar.data.findings import Findings
from sefar.data.scope_name import LISTS, ScopeConfig
from sefar.data.scopes import Scope, resolve_scope
from sefar.errors import SefarError

COLUMNS = (
    "scope",
    "classes",
    "labelled",
    "unlabelled",
    "dev",
    "test",
    "smallest class",
    "missing classes",
    "split hash",
)
LISTED = 3  # missing classes that are named below the table

Sources = dict[tuple[str, str], Source]


def resolve_rows(configs: Sequence[ScopeConfig]) -> tuple[list[dict[str, Any]], Sources]:
    """Resolve scopes, reading each source once; a scope that cannot be resolved has an ``error``.

    Returns:
        A row a scope, as `scope_row` has it, and the sources by data set and name; pairs of sources that tell something
        of each other are there too, without clips.
    """
    sources: Sources = {}
    rows = []
    for config in configs:
        try:
            key = source_name(config)
            if key not in sources:
                sources[key] = read_source(config)
            rows.append(scope_row(resolve_scope(config, sources[key])))
        except SefarError as error:
            rows.append({"scope": config.name, "error": str(error).removeprefix(f"{config.name}: ")})
    return rows, sources | _pairs(sources)


def _pairs(sources: Sources) -> Sources:
    """What shows side by side: Gym99 and Gym288 that cross, labels of lists that are not their data set's."""
    pairs: Sources = {}
    for (key, one), (other_key, other) in permutations(sources.items(), 2):
        findings = Findings()
        if key[0] == other_key[0] == "finegym" and key[1].startswith("gym99") and other_key[1].startswith("gym288"):
            find_crossed_splits(one.table, other.table, findings)
        elif key[0] == LISTS != other_key[0]:
            find_label_offset(one.table, other.table, findings)
        if findings:
            pairs[key[0], f"{key[1]} beside {_title(other_key)}"] = Source(one.table.iloc[:0], findings)
    return pairs


def scope_row(scope: Scope) -> dict[str, Any]:
    """A scope in numbers: clips of each part and, of the class with the fewest labelled clips, how many these are."""
    counts = scope.labelled.label.value_counts().reindex(range(scope.num_classes), fill_value=0)
    return {
        "scope": scope.name,
        "classes": scope.num_classes,
        "labelled": len(scope.labelled),
        "unlabelled": 0 if scope.unlabelled is scope.labelled else len(scope.unlabelled),
        "dev": len(scope.dev),
        "test": len(scope.test),
        "smallest class": int(counts.min()),
        "missing classes": scope.missing_classes,
        "split hash": scope.split_hash,
        "notes": list(scope.notes),
    }


def findings_rows(sources: Sources) -> list[dict[str, Any]]:
    """Every finding with the source it is of."""
    return [
        {"source": _title(key), **asdict(finding)} for key, source in sources.items() for finding in source.findings
    ]


def table_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Scopes as a table, then the classes that have no labelled clip."""
    if not rows:
        return []
    header = list(COLUMNS)
    cells = [[_cell(row[name]) for name in header] for row in rows if "error" not in row]
    widths = [max(len(line[i]) for line in [header, *cells]) for i in range(len(header))]
    widths[0] = max(len(row["scope"]) for row in rows)
    lines = [_line(header, widths)]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['scope'].ljust(widths[0])}  error: {row['error']}")
        else:
            lines.append(_line([_cell(row[name]) for name in header], widths))
    for row in rows:
        if missing := row.get("missing classes"):
            more = f", … and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
            lines.append(f"{row['scope']}: no labelled clip of {', '.join(missing[:LISTED])}{more}")
    return lines


def findings_lines(sources: Sources) -> list[str]:
    """What is wrong with the files, a line a kind; first what training refuses."""
    lines = []
    for key, (_, findings) in sources.items():
        fatal = Findings(findings.fatal)
        others = Findings(finding for finding in findings if not finding.fatal)
        for some, title in ((fatal, "training refuses these files until mended"), (others, "findings")):
            if some:
                lines += ["", f"{_title(key)}: {title}", *(f"  {line}" for line in some.summary(most=1))]
    return [*lines, "", "all findings: --json"] if lines else []


def known_row(dataset: str, config: ScopeConfig) -> dict[str, Any]:
    """A data set's scopes, the annotation files it needs, and whether they are there."""
    about, folder = DATASETS[dataset], config.annotations_dir()
    return {
        "dataset": dataset,
        "scopes": known_scopes(dataset, config),
        "needs": about.needs,
        "annotations": str(folder),
        "found": not about.needs or os.path.isdir(folder),
    }


def known_lines(known: Sequence[Mapping[str, Any]]) -> list[str]:
    """The scopes of data sets and which annotation files they need."""
    lines = []
    for about in known:
        lines += ["", f"{about['dataset']}: {', '.join(name.partition('/')[2] for name in about['scopes'])}"]
        if about["needs"]:
            where = "found in" if about["found"] else "to be put into"
            lines.append(f"  needs {about['needs']}, {where} {about['annotations']}")
    return lines


def _title(key: tuple[str, str]) -> str:
    return f"{key[0]}{':' if key[0] in ('lists', 'folders') else '/'}{key[1]}"


def _cell(value: object) -> str:
    return str(len(value)) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else str(value)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    numbers = [cell.rjust(width) for cell, width in zip(cells[1:-1], widths[1:-1], strict=True)]
    return "  ".join([cells[0].ljust(widths[0]), *numbers, cells[-1]])
