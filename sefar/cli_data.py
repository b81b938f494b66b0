"""Command line of the data sets' annotations: ``sefar scopes``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from sefar.errors import ConfigError, ScopeError

if TYPE_CHECKING:
    from sefar.data.scope_name import ScopeConfig


@dataclass(frozen=True)
class Scopes:
    """Show what label scopes hold, from the annotation files alone, and what is wrong with these files.

    Without names: every scope of --dataset. Without annotation files: which scopes there are and what they need.
    """

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SCOPE …")] = ()
    """Label scopes, for instance finegym/gym99@0.05#0, folders:DIR@0.1 or lists:DIR."""
    dataset: Literal["synthgym", "finegym", "finediving", "ucf101", "hmdb51"] | None = None
    """Show every scope of this data set."""
    annotations: str = ""
    """Folder of its annotation files; empty: ROOT/DATASET/annotations."""
    root: str = "data"
    """Folder of the data sets."""
    path_prefix: str = ""
    """OLD=NEW: paths of lists that begin with OLD are looked for under NEW."""
    dev_fraction: float = 0.2
    """Share of the training clips kept apart to choose by; 0: none."""
    keep_groups: bool = False
    """Label whole source videos or performers."""
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print JSON, with every finding and missing class."""

    def run(self) -> None:
        """Print the table, then the findings.

        Raises:
            ScopeError: a scope cannot be resolved; the others are printed all the same.
        """
        from sefar import scope_table
        from sefar.data.datasets import DATASETS

        if self.annotations and not (self.dataset or self.names):
            raise ConfigError("--annotations: say of which data set, with --dataset or with names of scopes")
        datasets = [self.dataset] if self.dataset else [] if self.names else list(DATASETS)
        known = [scope_table.known_row(d, self._config(f"{d}/all")) for d in datasets]
        names = list(self.names)
        if self.dataset and known[0]["found"]:
            names += known.pop()["scopes"]
        rows, sources = scope_table.resolve_rows([self._config(name) for name in dict.fromkeys(names)])
        if self.as_json:
            found = {"scopes": rows, "findings": scope_table.findings_rows(sources), "known": known}
            print(json.dumps(found, indent=1, ensure_ascii=False))
        else:
            lines = [*scope_table.table_lines(rows), *scope_table.findings_lines(sources)]
            print("\n".join([*lines, *scope_table.known_lines(known)]))
        failed = [row["error"] for row in rows if "error" in row]
        if failed:
            raise ScopeError(failed[0] if len(rows) == 1 else f"{len(failed)} of {len(rows)} scopes cannot be resolved")

    def _config(self, name: str) -> ScopeConfig:
        from sefar.data.scope_name import ScopeConfig

        return ScopeConfig(
            name=name,
            root=self.root,
            annotations=self.annotations,
            dev_fraction=self.dev_fraction,
            keep_groups=self.keep_groups,
            path_prefix=self.path_prefix,
        )
