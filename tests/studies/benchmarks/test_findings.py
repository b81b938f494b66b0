"""Ratios, verdicts, tables and rows of what benchmarks find."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.benchmarks.findings import Case, Figure, Findings, Options
from studies.benchmarks.rows import rows, write_findings
from studies.results.store import ResultStore
from studies.results.throughput_table import case_table, figure_line, figure_table, throughput_page

CASE = Case(
    "How to read?",
    {"slow": [0.1, 0.4, 0.3], "fast": [0.01, 0.02, 0.1], "middle": [0.05, 0.1, 0.1]},
    "clip",
    "slow",
    {"fast": 5, "middle": 5},
    ("Clips were read.",),
    {"MB": {"slow": "3"}},
)
FIGURES = [
    Figure(name="speedup", value=10.0, least=5),
    Figure(name="waiting", value=0.08, most=0.05),
    Figure(name="overhead_seconds", value=1.23456, unit="s"),
]
FOUND = Findings("read", [CASE], FIGURES)


def test_ratios_are_medians_over_repeats() -> None:
    assert [CASE.ratio(way) for way in CASE.seconds] == pytest.approx([1, 10, 3])  # of 10, 20, 3 and of 2, 4, 3
    assert CASE.median("fast") == 0.02


def test_a_table_says_what_is_met_and_what_is_missed() -> None:
    assert case_table(CASE).splitlines() == [
        "### How to read?",
        "",
        "| way | ms a clip, median (least – most) | times as fast | target | MB |",
        "| --- | --- | --- | --- | --- |",
        "| slow | 300 (100 – 400) | 1.00 | – | 3 |",
        "| fast | 20 (10 – 100) | 10.00 | ≥ 5: met | – |",
        "| middle | 100 (50 – 100) | 3.00 | ≥ 5: missed | – |",
        "",
        "Clips were read.",
    ]
    assert "| once | 12346 | 1.00 |" in case_table(Case("?", {"once": [12.3456]}, "run", "once"))


def test_figures_have_verdicts_and_lines() -> None:
    assert [figure.verdict for figure in FIGURES] == ["≥ 5: met", "≤ 0.05: missed", ""]
    assert [figure_line(figure) for figure in FIGURES] == ["speedup=10", "waiting=0.08", "overhead_seconds=1.235"]
    assert figure_table(FIGURES).splitlines()[2:] == [
        "| `speedup` | 10 | ≥ 5: met |",
        "| `waiting` | 0.08 | ≤ 0.05: missed |",
        "| `overhead_seconds` | 1.23 s | – |",
    ]
    assert Figure(name="x", value=float("nan"), least=1).verdict == "≥ 1: missed"


def test_the_page_has_figures_then_every_case() -> None:
    page = throughput_page([FOUND, FOUND], command="python studies/throughput.py --table x.md")
    assert page.startswith("# Throughput\n\nMade by `python studies/throughput.py --table x.md` on ")
    assert page.count("## read\n") == 2 and page.count("### How to read?") == 2
    assert page.index("| `speedup` |") < page.index("## read")


def test_rows_hold_every_repetition_and_every_figure(tmp_path: Path) -> None:
    assert sum(1 for _ in rows(FOUND, "cpu")) == 9 + 3
    store = ResultStore(str(tmp_path / "store"), create=True)
    first, second = write_findings(store, FOUND, "cpu"), write_findings(store, FOUND, "cuda")
    assert first != second and first.startswith("read.")
    table = store.read("benchmarks", study="throughput", scope="read", trial_id=first)
    fast = table[(table.case == "How to read?") & (table.way == "fast")]
    assert fast.sort_values("repeat").value.tolist() == [0.01, 0.02, 0.1] and set(fast.unit) == {"s a clip"}
    figures = table[table.case == ""].set_index("way")
    assert figures.value["waiting"] == 0.08 and figures.target["waiting"] == "≤ 0.05: missed"
    assert set(store.read("benchmarks").device) == {"cpu", "cuda"} and len(store.read("benchmarks")) == 24
    assert not store.problems()


def test_a_quick_run_repeats_less() -> None:
    assert Options(folder=Path(".")).repeats(9, 2) == 9 and Options(folder=Path("."), quick=True).repeats(9, 2) == 2
