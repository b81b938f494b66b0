"""Findings as rows of the result store: one a repetition of each way, and one a figure."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Iterator
from typing import Any

from studies.benchmarks.findings import Findings
from studies.results.outage import PATIENCE_SECONDS
from studies.results.schema import now
from studies.results.store import ResultStore

STUDY, TABLE = "throughput", "benchmarks"


def rows(findings: Findings, device: str) -> Iterator[dict[str, Any]]:
    """All rows of one benchmark's run."""
    common = {"benchmark": findings.benchmark, "device": device, "host": platform.node(), "started_at": now()}
    for case in findings.cases:
        for way, seconds in case.seconds.items():
            for repeat, value in enumerate(seconds):
                measured = {"way": way, "repeat": repeat, "value": value, "unit": f"s a {case.unit}"}
                yield {**common, "case": case.question, **measured}
    for figure in findings.figures:
        said = {"way": figure.name, "repeat": 0, "value": figure.value, "unit": figure.unit, "target": figure.verdict}
        yield {**common, "case": "", **said}


def write_findings(store: ResultStore, findings: Findings, device: str) -> str:
    """Write one benchmark's run; its id."""
    run_id = f"{findings.benchmark}.{uuid.uuid4().hex[:8]}"
    writer = store.writer(STUDY, findings.benchmark, run_id)
    writer.write(TABLE, rows(findings, device))
    writer.flush(PATIENCE_SECONDS)
    return run_id
