"""A study as one self-contained HTML page: answers, tables that sort, figures, costs, provenance, and what to doubt."""

from studies.results.report.page import write_report

__all__ = ["write_report"]
