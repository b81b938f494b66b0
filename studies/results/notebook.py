"""What the notebooks share: the tables of one or several stores, figures on the page, sentences from numbers."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure

from sefar.errors import ConfigError, StoreError, nearest
from studies.results.figures.style import NothingToDraw, rendered
from studies.results.scores import COLUMNS, tidy_scores
from studies.results.selection import comparable
from studies.results.shared_arms import with_shared_arms
from studies.results.store import ResultStore

ENVIRONMENT = "SEFAR_STORES"
DEFAULT_STORES = (
    "runs/sweep",
    "runs/label_efficiency",
    "runs/ablation",
)  # where the studies write unless told otherwise
PIXELS_PER_INCH = 110  # of figures on a page
MARKDOWN = re.compile(r"([\\`*_|$\[\]<>~])")
FLAG = re.compile(r"(?<![`\w-])(--[a-z][a-z-]*(?: \d+)?)")


class Results:
    """The tables of one or several stores, joined; ``store`` says where a row comes from.

    Args:
        stores: URIs; empty: those of the environment variable ``SEFAR_STORES``, separated by spaces, or else those of
            the default places that exist.
        studies: names; empty: all. A study that two stores have in name is ``NAME (2)`` in the second of them, for
            trials of different runs may have equal ids too.
        root: relative paths count from here.

    Raises:
        StoreError: no store there, or none at all.
        ConfigError: no store has a study of that name.
    """

    def __init__(self, stores: Sequence[str] = (), studies: Sequence[str] = (), root: Path | str = ".") -> None:
        asked = list(stores) or os.environ.get(ENVIRONMENT, "").split()
        places = [uri if "://" in uri else str(Path(root, uri)) for uri in asked or DEFAULT_STORES]
        if not asked:
            places = [place for place in places if Path(place).is_dir()]
        if not places:
            raise StoreError(
                f"no store under {', '.join(DEFAULT_STORES)}: run `make sweep` first, or name stores with --store, the "
                f"notebook's parameter `stores` or {ENVIRONMENT}"
            )
        self.stores = [ResultStore(place) for place in places]
        self._names = _study_names(self.stores)
        self.studies, known = list(studies), sorted({name for names in self._names for name in names.values()})
        for name in self.studies:
            if name not in known:
                raise ConfigError(f"studies: no store has '{name}'{nearest(name, known)}")

    def _joined(self, read: Callable[[ResultStore], pd.DataFrame]) -> pd.DataFrame:
        tables = []
        for store, names in zip(self.stores, self._names, strict=True):
            rows = read(store)
            tables.append(rows.assign(study=rows.study.map(names).fillna(rows.study), store=store.uri))
        full = [table for table in tables if len(table)] or tables[:1]
        joined = pd.concat(full, ignore_index=True)
        return joined[joined.study.isin(self.studies)].reset_index(drop=True) if self.studies else joined

    def trials(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Rows of ``trials``."""
        return self._joined(lambda store: store.trials(columns=columns))

    def scores(self) -> pd.DataFrame:
        """Finished trials as scores of methods that may be compared; see `tidy_scores` and `comparable`.

        A run that two ablations of a study share stands there under either role.
        """
        tables = [tidy_scores(with_shared_arms(rows)) for _, rows in self.trials().groupby("study")]
        full = [table for table in tables if len(table)]
        return comparable(pd.concat(full, ignore_index=True)) if full else pd.DataFrame(columns=COLUMNS)

    def epochs(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Rows of ``epochs``."""
        return self._joined(lambda store: store.epochs(columns=columns))

    def regulation(self) -> pd.DataFrame:
        """Rows of ``regulation``."""
        return self._joined(lambda store: store.regulation())

    def predictions(self, trial: pd.Series) -> pd.DataFrame:
        """Rows of ``predictions`` of one trial.

        Args:
            trial: its row of `trials`.
        """
        ((store, names),) = [pair for pair in zip(self.stores, self._names, strict=True) if pair[0].uri == trial.store]
        (study,) = [stored for stored, name in names.items() if name == trial.study]
        return store.predictions(study=study, scope=trial.scope, trial_id=trial.trial_id)

    def problems(self) -> list[str]:
        """What reading has met that is torn or foreign, one line a file."""
        return [problem for store in self.stores for problem in store.problems()]


def _study_names(stores: Sequence[ResultStore]) -> list[dict[str, str]]:
    """What each store's studies are called: a name that an earlier store has too gets a number."""
    seen: dict[str, int] = {}
    found = []
    for store in stores:
        names = {}
        for study in sorted({file.study for file in store.files("trials")}):
            seen[study] = seen.get(study, 0) + 1
            names[study] = study if seen[study] == 1 else f"{study} ({seen[study]})"
        found.append(names)
    return found


def escaped(text: str) -> str:
    """A text from a store on one line, without meaning to Markdown or HTML."""
    return MARKDOWN.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def show(draw: Callable[..., Figure], *arguments: Any, alt: str, **named: Any) -> None:
    """Put a figure on the page, or the sentence that says why there is none.

    Args:
        draw: a function of `studies.results.figures`.
        *arguments: of `draw`.
        alt: what the picture shows, for those who cannot see it.
        **named: of `draw`.
    """
    try:
        figure = draw(*arguments, **named)
    except NothingToDraw as nothing:
        say(f"*No figure: {nothing}*")
        return
    width = round(figure.get_figwidth() * PIXELS_PER_INCH)
    display(Image(rendered(figure, "png"), width=width, alt=alt))


def say(*sentences: str) -> None:
    """Put prose on the page, as Markdown."""
    display(Markdown(" ".join(sentences)))


def bullets(sentences: Iterable[str]) -> None:
    """Put plain sentences on the page one below the other; flags in them become code, which no line break parts."""
    say("\n".join("- " + FLAG.sub(r"`\1`", escaped(sentence)) for sentence in sentences))


def table(frame: pd.DataFrame, digits: int = 1) -> None:
    """Put a table on the page: numbers to so many digits, nothing where there is none."""
    said = frame.copy()
    for name in said.select_dtypes("float").columns:
        said[name] = [("" if value != value else f"{value:.{digits}f}") for value in said[name]]
    said = said.astype(object).where(said.notna(), "")
    lines = ["| " + " | ".join(map(_cell, said.columns)) + " |", "|" + " --- |" * len(said.columns)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in said.itertuples(index=False)]
    display(Markdown("\n".join(lines)))


def _cell(value: Any) -> str:
    return escaped(str(value))
