"""Pages of studies made by hand, and what stands on them."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from studies.results.report import write_report
from studies.results.store import ResultStore


class Elements(HTMLParser):
    """Start tags of a page with their attributes, the idents, and the text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._in = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def idents(self) -> list[str]:
        return [str(attrs["id"]) for _, attrs in self.tags if "id" in attrs]


def row(role: str, number: int, **values: Any) -> dict[str, Any]:
    return {
        "role": role,
        "number": number,
        "stage": "search",
        "status": "finished",
        "train_seed": number,
        "parameters": "{}",
        "split_hash": "abc",
        "labelled_clips": 12,
        "epochs_planned": 4,
        "epochs_done": 4,
        "seconds": 60.0,
        "accelerator_seconds": 0.0,
        "dev_student_top1": 50.0,
        **values,
    }


def add(store: ResultStore, study: str, name: str, scope: str, values: dict[str, Any]) -> None:
    store.writer(study, scope, name).trial(values)


def page_of(store: ResultStore, study: str, path: Path, **named: Any) -> Elements:
    return Elements(write_report(store, study, path / "page.html", **named).read_text("utf-8"))


def ablation(store: ResultStore, gains: list[float]) -> None:
    """Reference at 60 % and an arm with a gain for each seed."""
    for seed, gain in enumerate(gains):
        scope = f"synthgym/core@1pc#{seed}"
        add(store, "ab", f"r{seed}", scope, row("reference", seed, test_student_top1=60.0 + seed))
        add(store, "ab", f"a{seed}", scope, row("components/dual", seed, test_student_top1=60.0 + seed + gain))
