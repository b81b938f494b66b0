"""Timings side by side, as Markdown tables."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Sequence

from studies.benchmarks.findings import Case, Figure, Findings

PACKAGES = ("torch", "decord", "opencv-python-headless", "pillow")


def case_table(case: Case) -> str:
    """A case as a Markdown table: milliseconds, how many times as fast, the target and whether it is met."""
    further = list(case.columns)
    lines = [
        f"### {case.question}",
        "",
        f"| {' | '.join(['way', f'ms a {case.unit}, median (least – most)', 'times as fast', 'target', *further])} |",
        "| --- " * (4 + len(further)) + "|",
    ]
    for way, seconds in case.seconds.items():
        ms = [1000 * s for s in seconds]
        spread = f" ({_short(min(ms))} – {_short(max(ms))})" if len(ms) > 1 else ""
        ratio, target = case.ratio(way), case.targets.get(way)
        verdict = "–" if target is None else f"≥ {target:g}: {'met' if ratio >= target else 'missed'}"
        cells = [way, f"{_short(statistics.median(ms))}{spread}", f"{ratio:.2f}", verdict]
        lines.append(f"| {' | '.join(cells + [case.columns[name].get(way, '–') for name in further])} |")
    return "\n".join([*lines, "", *case.notes]).rstrip() + "\n"


def _short(ms: float) -> str:
    return f"{ms:.3g}" if ms < 1000 else f"{ms:.0f}"


def figure_line(figure: Figure) -> str:
    """``name=value``."""
    return f"{figure.name}={figure.value:.4g}"


def figure_table(figures: Sequence[Figure]) -> str:
    """The figures with their targets."""
    lines = ["| figure | value | target |", "| --- | --- | --- |"]
    for figure in figures:
        value = f"{figure.value:.3g} {figure.unit}".rstrip()
        lines.append(f"| `{figure.name}` | {value} | {figure.verdict or '–'} |")
    return "\n".join(lines) + "\n"


def throughput_page(found: Sequence[Findings], *, command: str) -> str:
    """All benchmarks, and what they were made with."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    about = (
        f"Made by `{command}` on {os.cpu_count()} {platform.machine()} cores, Python {platform.python_version()}, "
        f"{versions}.\nThe ways of a table take turns, except those of `store`, of `trial` and of a cold frame store.\n"
        "“Times as fast”: the first way's, or the named baseline's, time over the row's, median over repeats.\n"
        "Processor time is what a core would take that does nothing else; otherwise time is what passes.\n"
        "What it means: docs/performance.md."
    )
    parts = ["# Throughput", "", about, "", figure_table([f for findings in found for f in findings.figures])]
    for findings in found:
        parts += [f"## {findings.benchmark}", "", *map(case_table, findings.cases)]
    return "\n".join(parts)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
