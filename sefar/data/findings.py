"""What is wrong with a data set's files: collected while they are read, shown together, not one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sefar.errors import DataError

LISTED = 10  # findings of one kind that an error spells out


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        kind: what sort of fault, for instance ``malformed row`` or ``duplicate``; findings are grouped by it.
        where: file and line (``gym99_train.txt:17``), a class or a clip.
        message: what was expected, what came, how to mend it.
        fatal: training cannot go on with it.
    """

    kind: str
    where: str
    message: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class Findings:
    """A growing list of `Finding`."""

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self._findings = list(findings)

    def add(self, kind: str, where: str, message: str, *, fatal: bool = False) -> None:
        """Append one finding; see `Finding`."""
        self._findings.append(Finding(kind, where, message, fatal))

    def extend(self, findings: Iterable[Finding]) -> None:
        """Append several."""
        self._findings.extend(findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._findings)

    def __len__(self) -> int:
        return len(self._findings)

    @property
    def fatal(self) -> list[Finding]:
        """Those that training cannot go on with."""
        return [finding for finding in self._findings if finding.fatal]

    def of_kind(self, kind: str) -> list[Finding]:
        """Those of one kind."""
        return [finding for finding in self._findings if finding.kind == kind]

    def summary(self, most: int = 3) -> list[str]:
        """One line a kind, in the order of appearance: how many, and the first `most` of them."""
        return [f"{kind}: {_listing(group, most, '; ')}" for kind, group in _by_kind(self._findings).items()]

    def raise_fatal(self, context: str) -> None:
        """Refuse to go on if anything is fatal.

        Args:
            context: what was read, the message's first words.

        Raises:
            DataError: lists every kind of fatal finding with its count and the first 10 of each.
        """
        fatal = self.fatal
        if not fatal:
            return
        if len(fatal) == 1:
            raise DataError(f"{context}: {fatal[0]}")
        kinds = [f"{kind}: {_listing(group, LISTED, chr(10) + '    ')}" for kind, group in _by_kind(fatal).items()]
        raise DataError("\n  ".join([f"{context}: {len(fatal)} faults to mend first", *kinds]))


def _by_kind(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.kind, []).append(finding)
    return groups


def _listing(group: list[Finding], most: int, separator: str) -> str:
    more = [f"… and {len(group) - most} more"] if len(group) > most else []
    return separator.join([str(len(group)), *(str(finding) for finding in group[:most]), *more])
