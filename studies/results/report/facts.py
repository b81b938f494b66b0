"""What a study cost, every trial of it, and where it came from."""

from __future__ import annotations

import pandas as pd

from studies.results.confirm import without_split
from studies.results.leaderboard import clock, short_scope
from studies.results.report.boards import listed_trials, what_it_is
from studies.results.report.parts import Cell, Column, Row, Table, counted, ident, listed, number, text
from studies.results.report.study import TEST, StudyView
from studies.results.schema import FAILED, FINISHED, METRIC, PRUNED, RUNNING, text_of

SOFTWARE = {
    "sefar": "sefar_version",
    "commit": "commit",
    "Python": "python_version",
    "torch": "torch_version",
    "Ray": "ray_version",
    "device": "device",
    "host": "host",
}
MISSING = ("missing_labelled", "missing_unlabelled", "missing_dev", "missing_test")


def cost_sentence(trials: pd.DataFrame) -> str:
    """Hours of trials and accelerators, and what of them went into trials that did not finish."""
    hours, accelerators = trials.seconds.sum() / 3600, trials.accelerator_seconds.sum() / 3600
    lost = trials[trials.status.isin([PRUNED, FAILED])].seconds.sum() / 3600
    said = f"{counted(len(trials), 'trial')} took {_hours(hours)} of trial time"
    said += f" and {_hours(accelerators)} of accelerators" if accelerators else " and no accelerator"
    return said + (f"; {_hours(lost)} went into trials that were pruned or failed." if lost else ".")


def _hours(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def cost_table(trials: pd.DataFrame) -> Table:
    """Trials and hours by scope."""
    columns = [Column("scope"), *(Column(title, True) for title in ("trials", FINISHED, PRUNED, FAILED, RUNNING))]
    columns += [Column("trial hours", True), Column("accelerator hours", True), Column("time of the longest", True)]
    shown = []
    for scope, rows in trials.groupby(trials.scope.map(without_split)):
        counts = [number(int((rows.status == status).sum()), 0) for status in (FINISHED, PRUNED, FAILED, RUNNING)]
        hours = [number(rows[column].sum() / 3600, 3) for column in ("seconds", "accelerator_seconds")]
        longest = rows.seconds.max()
        last = Cell("") if longest != longest else Cell(clock(longest), repr(float(longest)))
        shown.append(Row([text(short_scope(str(scope))), number(len(rows), 0), *counts, *hours, last]))
    return Table("costs-table", "Costs by label scope", columns, shown)


def trial_table(trials: pd.DataFrame) -> Table:
    """Every trial with its parameters, numbers, costs, log and error."""
    columns = [
        Column("trial", path=True),
        Column("scope"),
        Column("role", path=True),
        Column("stage"),
        Column("seed", True, "of training"),
        Column("status"),
        Column("dev (%)", True),
        Column("test (%)", True),
        Column("epochs", True),
        Column("time (s)", True),
        Column("accelerator (s)", True),
        Column("started"),
        Column("configuration", wide=True),
        Column("log", path=True),
        Column("error or note", wide=True),
    ]
    shown = []
    for row in listed_trials(trials).sort_values(["scope", "number"]).to_dict("records"):
        done, planned = row["epochs_done"], row["epochs_planned"]
        cells = [
            text(row["trial_id"]),
            text(short_scope(str(row["scope"]))),
            text(row["role"]),
            text(row["stage"]),
            number(row["train_seed"], 0),
            text(row["status"]),
            number(row[METRIC]),
            number(row[TEST]),
            Cell("" if done != done else f"{int(done)}/{int(planned)}", "" if done != done else str(int(done))),
            number(row["seconds"], 0),
            number(row["accelerator_seconds"], 0),
            text(text_of(row["started_at"]).replace("+00:00", "Z")),
            text(what_it_is(row)),
            text(text_of(row["log"])),
            text("; ".join(said for said in (text_of(row["error"]), text_of(row["notes"])) if said)),
        ]
        kind = "dim" if row["status"] in (PRUNED, FAILED) else ""
        shown.append(Row(cells, kind, ident("trial", str(row["trial_id"]))))
    left = len(trials) - len(shown)
    notes = [f"{left} more trials are in the store; the page shows those that rank first."] if left > 0 else []
    return Table("trials-table", f"{len(trials)} trials", columns, shown, notes)


def provenance_table(study: StudyView) -> Table:
    """What made the rows."""
    trials = study.trials
    facts = [("store", study.store.uri), ("store's schema version", str(study.store.schema_version))]
    facts += [(name, listed(values)) for name, column in SOFTWARE.items() if (values := _values(trials[column]))]
    for name, column in (("recipe", "recipe"), ("study hash", "study_hash"), ("search space hash", "space_hash")):
        if values := _values(trials[column]):
            facts.append((name, listed(values)))
    seeds = sorted(int(seed) for seed in trials.train_seed.dropna().unique())
    facts += [("training seeds", listed(seeds, 12) or "not recorded")]
    for name, moments, pick in (("first start", trials.started_at, min), ("last sign", trials.updated_at, max)):
        if known := _values(moments):
            facts.append((name, pick(known)))
    columns = [Column("what"), Column("value")]
    rows = [Row([text(name), text(value)]) for name, value in facts]
    return Table("provenance-table", "Software, machines, seeds", columns, rows, sortable=False)


def split_table(trials: pd.DataFrame) -> Table:
    """Clips of every label scope, with the hash of the split."""
    columns = [Column("label scope"), Column("split hash"), *(Column(t, True) for t in ("labelled", "unlabelled"))]
    columns += [Column("classes", True), *(Column(name.replace("_", ", "), True) for name in MISSING)]
    shown = []
    for scope, rows in trials.groupby("scope"):
        counts = [rows[name].max() for name in ("labelled_clips", "unlabelled_clips", "classes", *MISSING)]
        shown.append(Row([text(scope), text(listed(_values(rows.split_hash))), *(number(c, 0) for c in counts)]))
    return Table("splits-table", "Clips of the label scopes", columns, shown)


def _values(column: pd.Series) -> list[str]:
    return sorted({str(value) for value in column.dropna()} - {""})
