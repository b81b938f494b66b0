"""Annotation files of one row a line, as they come: any line end, byte order marks, stray blanks."""

from __future__ import annotations

import re
from pathlib import Path

from sefar.data.findings import Findings
from sefar.errors import DataError

LINE_END = re.compile(r"\r*\n|\r")
NAMES = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}


def read_rows(path: Path, form: str, findings: Findings, *, source: str = "") -> list[tuple[int, str]]:
    """Line number and text, without blanks around it, of each line that is not blank.

    Line ends other than LF, blanks at line ends, blank lines and a missing final newline become findings.

    Args:
        path: a UTF-8 file; a byte order mark (spreadsheets write one) is passed over.
        form: what a line looks like, for messages.
        findings: grows.
        source: where the file comes from, for the message when it is missing.

    Raises:
        DataError: missing, unreadable or no text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected '{form}' lines{f', {source}' if source else ''}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a text list ({error}); expected '{form}' lines") from error
    lines = LINE_END.split(text)
    ends = {NAMES.get(end, "CR CR LF") for end in LINE_END.findall(text)}
    if ends - {"LF"}:
        findings.add("line ends", path.name, f"lines end in {' and '.join(sorted(ends))}, not LF; read all the same")
    if text and lines[-1]:
        findings.add("missing final newline", path.name, "the last line is not ended: is the file whole?")
    _report_lines("trailing blank", path, [n for n, line in enumerate(lines, 1) if line != line.rstrip()], findings)
    _report_lines("blank line", path, [n for n, line in enumerate(lines[:-1], 1) if not line], findings)
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def _report_lines(kind: str, path: Path, numbers: list[int], findings: Findings) -> None:
    if numbers:
        more = ", …" if len(numbers) > 5 else ""
        listed = ", ".join(map(str, numbers[:5]))
        findings.add(kind, f"{path.name}:{numbers[0]}", f"{len(numbers)} lines ({listed}{more}); read all the same")


def malformed(findings: Findings, where: str, form: str, line: str) -> None:
    """Add a fatal finding for a row that is not of the form."""
    findings.add("malformed row", where, f"expected '{form}', got '{line[:80]}'; mend the row", fatal=True)


def require_files(folder: Path, names: list[str], source: str) -> None:
    """Refuse a folder that lacks some of the files.

    Raises:
        DataError: names all that are missing and says where they come from.
    """
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder}: no {', '.join(missing)}; expected {', '.join(names)} {source}")
