"""What a page consists of: sections with sentences, tables and pictures. The template knows these and nothing else."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

LONG = 200  # characters, beyond which a cell opens on demand


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its head, with the unit.
        number: whether it holds numbers.
        about: shown when one points at the head.
        wide: whether its texts are long and need room.
        path: whether its texts are names that stay on one line.
        sorted: how the rows come: ``none``, ``ascending`` or ``descending`` by this column.
    """

    title: str
    number: bool = False
    about: str = ""
    sorted: str = "none"
    wide: bool = False
    path: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: shown.
        sort: what rows are sorted by; empty for nothing, which comes last.
        href: ident of what on the page it leads to.
        long: further text, shown on demand.
    """

    text: str
    sort: str = ""
    href: str = ""
    long: str = ""


@dataclass(frozen=True)
class Row:
    """A row; `kind` is ``best``, ``dim`` or empty, `ident` a name for links or empty."""

    cells: list[Cell]
    kind: str = ""
    ident: str = ""


@dataclass(frozen=True)
class Table:
    """A table; one without rows shows its notes alone."""

    ident: str
    caption: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    sortable: bool = True

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"{self.ident}: expected {len(self.columns)} cells in a row, got {len(row.cells)}")


@dataclass(frozen=True)
class Picture:
    """A figure, or the sentence that stands for it.

    Attributes:
        ident: for links.
        caption: what it shows; without a source, why there is none.
        alt: for those who do not see it.
        source: a ``data:`` URI; empty: there is none.
        width: in CSS pixels.
        height: in CSS pixels.
        wide: takes the page's width.
    """

    ident: str
    caption: str
    alt: str = ""
    source: str = ""
    width: int = 0
    height: int = 0
    wide: bool = False
    path: bool = False


@dataclass(frozen=True)
class Section:
    """A section; `kind` is a class of the style sheet."""

    ident: str
    title: str
    sentences: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    kind: str = ""


def ident(*parts: str) -> str:
    """A name for links: ``ident("board", "synthgym/core@1pc#0")`` → ``board-synthgym-core-1pc-0``."""
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", part).strip("-") for part in parts if part)


def number(value: Any, digits: int = 1, *, signed: bool = False) -> Cell:
    """A number; an empty cell for NaN and None."""
    if value is None or value != value:
        return Cell("")
    return Cell(f"{value:{'+' if signed else ''}.{digits}f}", repr(float(value)))


def text(value: Any, *, href: str = "") -> Cell:
    """A text; an empty cell for NaN and None; what is long opens on demand."""
    said = "" if value is None or value != value else str(value)
    if len(said) <= LONG:
        return Cell(said, said, href)
    return Cell(textwrap.shorten(said, LONG - 60, placeholder=" …"), said, long=said)


def counted(count: int, one: str, several: str = "") -> str:
    """``1 trial``, ``3 trials``."""
    return f"{count} {one if count == 1 else several or one + 's'}"


def listed(values: Iterable[Any], most: int = 6) -> str:
    """``a, b and 3 more``."""
    shown = [str(value) for value in values]
    if len(shown) <= most:
        return ", ".join(shown)
    return f"{', '.join(shown[: most - 1])} and {len(shown) - most + 1} more"
