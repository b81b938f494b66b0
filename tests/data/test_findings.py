from __future__ import annotations

import pytest

from sefar.data.findings import Finding, Findings
from sefar.errors import DataError


def some() -> Findings:
    findings = Findings([Finding("duplicate", "a.csv:2", "twice")])
    for line in range(12):
        findings.add("malformed row", f"a.csv:{line}", "expected '<path> <label>'", fatal=True)
    findings.extend([Finding("leak", "b.csv:1", "'x' is in test too", fatal=True)])
    return findings


def test_a_summary_has_one_line_a_kind_with_count_and_first_few() -> None:
    assert some().summary(most=2) == [
        "duplicate: 1; a.csv:2: twice",
        "malformed row: 12; a.csv:0: expected '<path> <label>'; a.csv:1: expected '<path> <label>'; … and 10 more",
        "leak: 1; b.csv:1: 'x' is in test too",
    ]
    assert Findings().summary() == []


def test_all_fatal_findings_are_raised_together() -> None:
    with pytest.raises(DataError) as error:
        some().raise_fatal("lists:X")
    lines = str(error.value).splitlines()
    assert lines[0] == "lists:X: 13 faults to mend first"
    assert lines[1] == "  malformed row: 12"
    assert [line for line in lines if "a.csv" in line][-1] == "    a.csv:9: expected '<path> <label>'"
    assert "    … and 2 more" in lines
    assert lines[-2:] == ["  leak: 1", "    b.csv:1: 'x' is in test too"]
    assert "twice" not in str(error.value)


def test_one_fatal_finding_takes_one_line_and_none_passes() -> None:
    findings = Findings([Finding("duplicate", "a.csv:2", "twice")])
    findings.raise_fatal("lists:X")
    findings.add("leak", "b.csv:1", "'x' is in test too", fatal=True)
    with pytest.raises(DataError, match=r"^lists:X: b\.csv:1: 'x' is in test too$"):
        findings.raise_fatal("lists:X")
    assert len(findings) == 2
    assert [finding.kind for finding in findings.fatal] == ["leak"]
