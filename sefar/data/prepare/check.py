"""``sefar prepare check``: decode every clip of a scope, list those that do not decode, and count what there is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sefar.data.decode_process import Window, check_clips
from sefar.data.listing import Listing
from sefar.data.prepare.parallel import cores
from sefar.data.quarantine import quarantine_file, quarantined, read_quarantine, write_quarantine
from sefar.data.scope_name import ScopeConfig
from sefar.data.scopes import PARTS, resolve_scope

AVAILABLE, MISSING, BROKEN = STATUSES = ("available", "missing", "broken")
WINDOW = ("path", "start_frame", "end_frame")
CLASSES_SHOWN = 20
CAUSES_SHOWN = 5


@dataclass(frozen=True)
class CheckReport:
    """What a check saw.

    Attributes:
        scope: name.
        classes: class names by dense label.
        clips: clip table of all parts, with ``part``, ``status`` (available, missing or broken) and ``cause``.
        file: the quarantine list, which holds the broken ones.
    """

    scope: str
    classes: list[str]
    clips: pd.DataFrame
    file: Path

    @property
    def complete(self) -> bool:
        """Whether every clip is available."""
        return bool((self.clips.status == AVAILABLE).all())

    def table(self) -> pd.DataFrame:
        """A row a class: clips by status, and ``labelled``, the labelled ones available.

        Classes left without labelled clips come first, then those that lack most.
        """
        known = self.clips[self.clips.label >= 0]
        counts = known.groupby(["label", "status"]).size().unstack(fill_value=0)
        counts = counts.reindex(index=range(len(self.classes)), columns=list(STATUSES), fill_value=0)
        labelled = known[(known.part == "labelled") & (known.status == AVAILABLE)].groupby("label").size()
        counts.insert(0, "labelled", labelled.reindex(counts.index, fill_value=0))
        counts.insert(0, "class", self.classes)
        order = pd.DataFrame({"left": counts.labelled > 0, "lack": -counts.missing - counts.broken})
        return counts.loc[order.sort_values(["left", "lack"], kind="stable").index]

    def text(self) -> str:
        """What was seen, no wider than the terminal."""
        numbers = self.clips.status.value_counts()
        counted = ", ".join(f"{numbers.get(status, 0):,} {status}" for status in STATUSES)
        lines = [f"{self.scope}: {len(self.clips):,} clips of {len(self.classes)} classes: {counted}"]
        table = self.table()
        without = int((table.labelled == 0).sum())
        if without:
            lines.append(f"{_classes(without)} left without labelled clips")
        lacking = table[(table.labelled == 0) | (table.missing + table.broken > 0)]
        if len(lacking):
            lines += _lines(lacking.head(CLASSES_SHOWN))
        if len(lacking) > CLASSES_SHOWN:
            lines.append(f"… and {len(lacking) - CLASSES_SHOWN} more that lack clips")
        if len(lacking) < len(table):
            lines.append(f"{_classes(len(table) - len(lacking))} complete")
        broken = self.clips[self.clips.status == BROKEN]
        lines += [f"broken: {cause}" for cause in broken.cause.head(CAUSES_SHOWN)]
        if len(broken) > CAUSES_SHOWN:
            lines.append(f"… and {len(broken) - CAUSES_SHOWN} more broken ones")
        return "\n".join([*lines, f"quarantine list: {self.file}"])


def check_scope(
    config: ScopeConfig, *, limit_seconds: float = 20.0, workers: int = 0, progress: bool = True
) -> CheckReport:
    """Decode every clip of a scope in child processes, and write its quarantine list.

    Clips that decoded in an earlier check and have not changed since are not decoded again. Interrupted, it keeps what
    it has seen.

    Args:
        config: the scope and where its data lies.
        limit_seconds: a clip that takes longer is broken.
        workers: child processes; 0: one a core.
        progress: show a bar on a terminal.

    Raises:
        ScopeError: unknown scope.
        DataError: the annotations have fatal faults, or the list cannot be written.
    """
    scope = resolve_scope(config)
    scope.findings.raise_fatal(config.name)
    clips = pd.concat([getattr(scope, part).assign(part=part) for part in PARTS])
    # where every training clip is labelled, the unlabelled part repeats them
    clips = clips.drop_duplicates(list(WINDOW), ignore_index=True)
    windows = [(path, int(start), int(end)) for path, start, end in clips[list(WINDOW)].itertuples(index=False)]
    listing = Listing()
    there = {w: clip_id for w, clip_id in zip(windows, clips.clip_id, strict=True) if listing.is_file(w[0])}
    # the same scope of other clips has a list of its own: neither check may drop what the other found
    about = " ".join(filter(None, [config.name, config.clips, config.path_prefix]))
    file = Path(config.quarantine) if config.quarantine else quarantine_file(Path(config.root), about)
    causes = _decode(there, file, limit_seconds, workers or cores(), progress)
    status = [MISSING if w not in there else BROKEN if causes[w] else AVAILABLE for w in windows]
    clips = clips.assign(status=status, cause=[causes.get(w, "") for w in windows])
    return CheckReport(config.name, scope.classes, clips, file)


def _decode(
    clip_ids: dict[Window, str], file: Path, limit_seconds: float, workers: int, progress: bool
) -> dict[Window, str]:
    """Cause by window, empty for those that decode; written to `file` and, the good ones, beside it."""
    good_file = file.parent / "good" / file.name  # of the same form, with no cause
    good, broken = (read_quarantine([f] if f.exists() else []) for f in (good_file, file))
    entries = {w: quarantined(i, *w, "") for w, i in clip_ids.items() if good.cause(*w) is not None}
    todo = [window for window in clip_ids if window not in entries]
    workers = min(workers, max(len(todo), 1))
    checked = check_clips(todo, processes=workers, limit_seconds=limit_seconds, progress=progress)
    try:
        for window, _, cause in checked:
            entries[window] = quarantined(clip_ids[window], *window, cause or "")
    finally:
        for window in todo:  # those it did not come to
            cause = broken.cause(*window)
            if window not in entries and cause is not None:
                entries[window] = quarantined(clip_ids[window], *window, cause)
        write_quarantine(file, [entry for entry in entries.values() if entry.cause])
        write_quarantine(good_file, [entry for entry in entries.values() if not entry.cause])
    return {window: entry.cause for window, entry in entries.items()}


def _lines(table: pd.DataFrame) -> list[str]:
    """A table's rows, class names cut to what the terminal leaves for them."""
    numbers = ("labelled", *STATUSES)
    space = shutil.get_terminal_size().columns - sum(len(n) + 2 for n in numbers)
    width = max(5, min(space, max(map(len, table["class"]))))
    lines = ["class".ljust(width) + "".join(f"  {n}" for n in numbers)]
    for row in table.to_dict("records"):
        name = row["class"] if len(row["class"]) <= width else row["class"][: width - 1] + "…"
        lines.append(name.ljust(width) + "".join(f"  {row[n]:>{len(n)},}" for n in numbers))
    return lines


def _classes(number: int) -> str:
    return "1 class is" if number == 1 else f"{number} classes are"
