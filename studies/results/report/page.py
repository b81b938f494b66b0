"""Puts a study's page together and writes it as one file that needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jinja2

from sefar.errors import DataError
from sefar.files import write_whole
from studies.results.confirm import without_split
from studies.results.leaderboard import search_rows
from studies.results.report.answers import answers, nothing_compared
from studies.results.report.boards import difference_table, fraction_board, method_board, search_board
from studies.results.report.cautions import cautions, planned_left
from studies.results.report.facts import (
    cost_sentence,
    cost_table,
    provenance_table,
    split_table,
    trial_table,
)
from studies.results.report.parts import Column, Row, Section, Table, counted, ident, number, text
from studies.results.report.pictures import drawings, importances, picture
from studies.results.report.study import FRACTIONS, SWEEP, StudyView
from studies.results.report.variants import apart
from studies.results.schema import now
from studies.results.store import ResultStore

FOLDER = Path(__file__).parent
KINDS = {SWEEP: "Search over label scopes", FRACTIONS: "Label efficiency", "ablation": "Ablation", "study": "Study"}


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    title: str
    kind: str
    state: str
    running: bool
    sections: list[Section]
    made: str


def write_report(store: ResultStore, study: str, path: Path, *, title: str = "", figures: bool = True) -> Path:
    """Write a study's page: one HTML file with everything in it. The study may be running.

    Args:
        store: holds the study.
        study: its name.
        path: where to; its folder is made.
        title: of the page; default: the study's name.
        figures: whether to draw them, which takes seconds.

    Returns:
        `path`.

    Raises:
        ConfigError: the store has no such study.
        StoreError: the store cannot be read.
        DataError: the page cannot be written.
    """
    view = StudyView(store, study)
    html = _template().render(
        page=_page(view, title or study, figures=figures),
        style=(FOLDER / "page.css").read_text("utf-8"),
        script=(FOLDER / "page.js").read_text("utf-8"),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, html)
    except OSError as error:
        raise DataError(
            f"{path}: the report cannot be written ({error.strerror or error}); name another file"
        ) from error
    return path


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _page(study: StudyView, title: str, *, figures: bool) -> Page:
    sections = [
        Section("answers", "Answers", answers(study), kind="answers"),
        _boards(study),
        _differences(study),
        *([_importance(study)] if study.kind == SWEEP else []),
        *([_figures(study)] if figures else []),
        Section("costs", "Costs", [cost_sentence(study.trials)], tables=[cost_table(study.trials)]),
        Section("trials", "Every trial", tables=[trial_table(study.trials)]),
        _provenance(study),
    ]
    doubts = cautions(study)  # last, when everything of the store has been read
    if doubts:
        sections.insert(1, Section("cautions", "What to be careful with", points=doubts, kind="caution"))
    made = f"Made by sefar from {study.store.uri}, {now().replace('T', ' ').replace('+00:00', ' UTC')}."
    return Page(title, KINDS[study.kind], _state(study), bool(study.running), sections, made)


def _state(study: StudyView) -> str:
    counts = study.trials.status.value_counts()
    said = f"{counted(len(study.trials), 'trial')}: " + ", ".join(f"{n} {status}" for status, n in counts.items())
    left = planned_left(study.trials)
    return said + (f"; {left} not started yet" if left else "")


def _boards(study: StudyView) -> Section:
    tables = []
    if study.kind == SWEEP:
        rows = search_rows(study.trials)
        tables += [search_board(study, str(scope)) for scope in rows.scope.unique()]
    if study.kind == FRACTIONS and len(study.few_fractions) > 1:
        tables += fraction_board(study)
    if study.kind != SWEEP or study.confirmed:
        for question in study.questions:
            for scope, rows in study.by_scope(question):
                tables.append(method_board(apart(study, rows), scope, question, confirmed=study.confirmed))
    return Section("leaderboards", "Leaderboards", [] if tables else [_nothing_ranked(study)], tables=tables)


def _nothing_ranked(study: StudyView) -> str:
    if not study.finished:
        return "No trial has finished: there is nothing to rank."
    said = f"{counted(study.finished, 'trial')} finished, but none was evaluated on the test clips"
    return f"{said}: no methods are ranked. Their accuracies on dev stand under every trial."


def _differences(study: StudyView) -> Section:
    title = "Differences"
    if study.comparisons:
        return Section("differences", title, tables=[difference_table(study.comparisons)])
    if study.kind == SWEEP and not study.confirmed:
        said = "The search ran each configuration once, so there is nothing to pair. --confirm K runs the K best anew."
    else:
        said = " ".join(nothing_compared(study))
    return Section("differences", title, [said])


def _importance(study: StudyView) -> Section:
    columns = [Column("parameter"), Column("fANOVA (%)", True, sorted="none"), Column("PED-ANOVA (%)", True)]
    tables = []
    for scope, found in importances(study).items():
        shown = [
            Row([text(row["parameter"]), number(100 * row["fanova"]), number(100 * row["ped_anova"])])
            for row in found.table.to_dict("records")
        ]
        notes = [found.warning] if found.warning else []
        caption = f"Importance of the parameters on {without_split(scope)}"
        tables.append(Table(ident("importance", scope), caption, columns, shown, notes))
    said = (
        "How much of the differences in dev accuracy a parameter explains: over the whole space (fANOVA), and among "
        "the best trials (PED-ANOVA)."
    )
    return Section("importance", "What of the search space matters", [said], tables=tables)


def _figures(study: StudyView) -> Section:
    return Section("figures", "Figures", pictures=[picture(drawing) for drawing in drawings(study)])


def _provenance(study: StudyView) -> Section:
    problems = study.store.problems()
    said = "Every file of the store could be read." if not problems else "Files that could not be read:"
    tables = [provenance_table(study), split_table(study.trials)]
    return Section("provenance", "Provenance and the store", [said], problems, tables)
