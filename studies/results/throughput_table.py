"""Timings side by side, as Markdown tables."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Sequence

from studies.throughput_cases import Case

PACKAGES = ("torch", "decord", "opencv-python-headless", "pillow")


def case_table(case: Case) -> str:
    """A case as a Markdown table: milliseconds, how many times as fast, the target and whether it is met."""
    lines = [
        f"## {case.question}",
        "",
        f"| way | ms a {case.unit}, median (least – most) | times as fast | target |",
        "| --- | --- | --- | --- |",
    ]
    for way, seconds in case.seconds.items():
        ms = [1000 * s for s in seconds]
        spread = f" ({min(ms):.3g} – {max(ms):.3g})" if len(ms) > 1 else ""
        ratio, target = case.ratio(way), case.targets.get(way)
        verdict = "–" if target is None else f"≥ {target:g}: {'met' if ratio >= target else 'missed'}"
        lines.append(f"| {way} | {statistics.median(ms):.3g}{spread} | {ratio:.2f} | {verdict} |")
    return "\n".join([*lines, "", *case.notes]).rstrip() + "\n"


def throughput_page(cases: Sequence[Case], *, command: str) -> str:
    """All cases, and what they were made with."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    about = (
        f"Made by `{command}` on {os.cpu_count()} {platform.machine()} cores, Python {platform.python_version()}, "
        f"{versions}.\nClips of 340 × 256 pixels and 100 to 150 frames, encoded for the purpose; files are in memory. "
        "The ways of a table take turns.\n“Times as fast”: the first way's time over the row's, median over repeats. "
        "Processor time is what a core would take\nthat does nothing else; otherwise time is what passes."
    )
    return "\n".join(["# Throughput: reading clips", "", about, "", *map(case_table, cases)])
