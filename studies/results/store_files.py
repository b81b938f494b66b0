"""Names of a store's data files: what a path says of the rows in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from studies.results.schema import TABLES

PARTITION = r"^(?P<table>[a-z]+)/study=(?P<study>[^/]+)/scope=(?P<scope>[^/]+)/"
# looked for first: a trial may be called "compact", but no attempt has so many digits
COMPACTED = re.compile(PARTITION + r"compact-(?P<digest>[0-9a-f]{32})\.parquet$")
TRIAL = re.compile(PARTITION + r"(?P<trial>[^/]+)-a(?P<attempt>\d+)\.parquet$")


@dataclass(frozen=True)
class StoreFile:
    """A data file by what its path says.

    Attributes:
        path: relative to the store.
        table: ``trials``, ``epochs``, ``predictions`` or ``regulation``.
        study: of its rows.
        scope: of its rows.
        trial_id: of its rows; empty for a compacted file, which holds many.
        attempt: of its rows; 0 for a compacted file.
    """

    path: str
    table: str
    study: str
    scope: str
    trial_id: str = ""
    attempt: int = 0

    @property
    def compacted(self) -> bool:
        """Whether it joins the files of trials that have ended."""
        return not self.trial_id

    @property
    def folder(self) -> str:
        """Of its partition, relative to the store."""
        return self.path.rpartition("/")[0]

    @classmethod
    def parse(cls, path: str) -> StoreFile | None:
        """Read the path; None when it is none of ours."""
        match = COMPACTED.match(path) or TRIAL.match(path)
        if match is None or match["table"] not in TABLES:
            return None
        where = (path, match["table"], unquote(match["study"]), unquote(match["scope"]))
        if match.re is COMPACTED:
            return cls(*where)
        return cls(*where, unquote(match["trial"]), int(match["attempt"]))


def last_attempts(files: Sequence[StoreFile]) -> list[StoreFile]:
    """Without the files that a later attempt has replaced whole, so that these need not be read."""
    last = {(f.study, f.scope, f.trial_id): f for f in sorted(files, key=lambda f: f.attempt) if not f.compacted}
    return [f for f in files if f.compacted or last[f.study, f.scope, f.trial_id] is f]


def part_name(value: str) -> str:
    """A study, scope or trial as a part of a path."""
    return quote(value, safe="")


def partition_folder(table: str, study: str, scope: str) -> str:
    """Where the rows of a label scope lie, relative to the store."""
    return f"{table}/study={part_name(study)}/scope={part_name(scope)}"


def trial_path(table: str, study: str, scope: str, trial_id: str, attempt: int) -> str:
    """The file of one attempt of a trial, relative to the store."""
    return f"{partition_folder(table, study, scope)}/{part_name(trial_id)}-a{attempt}.parquet"


def is_temporary(path: str) -> bool:
    """Whether it is the unfinished file of a writer that is at work, or was killed."""
    return path.rpartition("/")[2].startswith((".", "_"))
