"""The data sets and the subsets of each that a label scope can name.

FineGym's events and sets are Gym99's, as in the lists that were released with the paper, but for ``set:FX-S3``, of
which Gym99 has no class. ``gym288.event:UB`` and ``gym99-v1.0.set:UB-S1`` name others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sefar.data.annotations.finediving import read_finediving
from sefar.data.annotations.finegym import SET_IDS, read_finegym, read_set_names
from sefar.data.annotations.folders import read_folders
from sefar.data.annotations.hmdb51 import read_hmdb51
from sefar.data.annotations.lists import read_lists
from sefar.data.annotations.ucf101 import read_ucf101
from sefar.data.findings import Findings
from sefar.data.scope_name import FOLDERS, LISTS, ScopeConfig, parse_scope
from sefar.errors import DataError, ScopeError, nearest


class Source(NamedTuple):
    """Clips that subsets are cut from, with the data set's own labels, and what is wrong with their files."""

    table: pd.DataFrame
    findings: Findings


class Subset(NamedTuple):
    """The rows of the clips read as `source` that have `value` in `column`; all rows without a column."""

    source: str
    column: str = ""
    value: object = None


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        needs: the annotation files, in words; empty: none.
        subsets: those a scope can name.
        read: reads a source by its name.
        listed: the subsets that overviews show; None: all.
    """

    needs: str
    subsets: Callable[[ScopeConfig], Mapping[str, Subset]]
    read: Callable[[ScopeConfig, str], Source]
    listed: tuple[str, ...] | None = None


def source_name(config: ScopeConfig) -> tuple[str, str]:
    """Data set and source that the scope is cut from; scopes that share them share `read_source`.

    Raises:
        ScopeError: unknown subset.
    """
    dataset = parse_scope(config.name).dataset
    return dataset, _subset(config).source


def read_source(config: ScopeConfig) -> Source:
    """Read the annotation files behind a scope.

    Raises:
        ScopeError: unknown subset.
        DataError: files are missing or cannot be read.
    """
    dataset, source = source_name(config)
    try:
        if dataset == LISTS:
            return Source(*read_lists(Path(source), Path(config.root), path_prefix=config.replaced_prefix()))
        if dataset == FOLDERS:
            return Source(*read_folders(Path(source)))
        return DATASETS[dataset].read(config, source)
    except OSError as error:  # a folder that may not be entered, a name that no disk can hold
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error


def select(config: ScopeConfig, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a source's table that are in the scope's subset."""
    subset = _subset(config)
    return table[table[subset.column] == subset.value] if subset.column else table


def known_scopes(dataset: str, config: ScopeConfig) -> list[str]:
    """Names of a data set's scopes."""
    about = DATASETS[dataset]
    return [f"{dataset}/{subset}" for subset in about.listed or about.subsets(config)]


def _subset(config: ScopeConfig) -> Subset:
    parsed = parse_scope(config.name)
    if parsed.dataset in (LISTS, FOLDERS):
        return Subset(parsed.subset)
    subsets = DATASETS[parsed.dataset].subsets(config)
    if parsed.subset not in subsets:
        raise ScopeError(
            f"scope '{config.name}': {parsed.dataset} has no '{parsed.subset}'{nearest(parsed.subset, subsets)}"
        )
    return subsets[parsed.subset]


def _synthgym_subsets(config: ScopeConfig) -> dict[str, Subset]:
    from sefar.data.synthgym.elements import ELEMENTS

    subsets = {"all": Subset("all"), "core": Subset("all", "core", True), "pairs": Subset("all", "pairs", True)}
    subsets |= {f"event:{element.event}": Subset("all", "event", element.event) for element in ELEMENTS}
    return subsets | {f"set:{e.set.replace(' ', '_')}": Subset("all", "set", e.set) for e in ELEMENTS}


def _read_synthgym(config: ScopeConfig, source: str) -> Source:
    from sefar.data.synthgym import clip_table, dataset_dir

    table, folder = clip_table(config.synthgym), dataset_dir(Path(config.root), config.synthgym)
    return Source(table.assign(path=[str(folder / path) for path in table.path]), Findings())


FINEGYM_SOURCES = {"gym99": "1.1", "gym288": "1.1", "gym99-v1.0": "1.0", "gym288-v1.0": "1.0"}
FINEGYM_PARTS = {
    **{f"event:{event}": ("event", event) for event in ("VT", "FX", "BB", "UB")},
    **{f"set:{code}": ("set_code", code) for code in SET_IDS},
}
FINEGYM = {
    **{source: Subset(source) for source in FINEGYM_SOURCES},
    **{part: Subset("gym288" if part == "set:FX-S3" else "gym99", *where) for part, where in FINEGYM_PARTS.items()},
    **{f"{s}.{part}": Subset(s, *where) for s in FINEGYM_SOURCES for part, where in FINEGYM_PARTS.items()},
}


def _read_finegym(config: ScopeConfig, source: str) -> Source:
    annotations = config.annotations_dir()
    table, findings = read_finegym(
        annotations, subset=source.partition("-")[0], clips=config.clips_dir(), version=FINEGYM_SOURCES[source]
    )
    names = read_set_names(annotations, Findings())  # its faults are among the findings already
    codes = {names[set_id]: code for code, set_id in SET_IDS.items() if set_id in names}
    return Source(table.assign(set_code=table["set"].map(codes)), findings)


FINEDIVING = ("all", "10m", "5253B")
SPLITS = {f"split{number}": Subset(f"split{number}") for number in (1, 2, 3)}


def _finediving_subsets(config: ScopeConfig) -> dict[str, Subset]:
    """Every dive code is a subset; which there are, the reader finds in the pickles."""
    return {name: Subset(name) for name in (*FINEDIVING, parse_scope(config.name).subset)}


def _read_finediving(config: ScopeConfig, source: str) -> Source:
    return Source(*read_finediving(config.annotations_dir(), subset=source, clips=config.clips_dir()))


def _read_ucf101(config: ScopeConfig, source: str) -> Source:
    return Source(*read_ucf101(config.annotations_dir(), split=int(source[-1]), clips=config.clips_dir()))


def _read_hmdb51(config: ScopeConfig, source: str) -> Source:
    return Source(*read_hmdb51(config.annotations_dir(), split=int(source[-1]), clips=config.clips_dir()))


DATASETS = {
    "synthgym": DataSet("", _synthgym_subsets, _read_synthgym),
    "finegym": DataSet(
        "gym99_*, gym288_* and set_categories.txt of the FineGym project page",
        lambda config: FINEGYM,
        _read_finegym,
        ("gym99", "gym288", *FINEGYM_PARTS),
    ),
    "finediving": DataSet(
        "the pickles of the FineDiving release, which its authors send to those who sign its agreement",
        _finediving_subsets,
        _read_finediving,
        FINEDIVING,
    ),
    "ucf101": DataSet(
        "classInd.txt, trainlist01.txt … testlist03.txt of UCF101's recognition task",
        lambda config: SPLITS,
        _read_ucf101,
    ),
    "hmdb51": DataSet("<class>_test_split1.txt … of HMDB51's three splits", lambda config: SPLITS, _read_hmdb51),
}
