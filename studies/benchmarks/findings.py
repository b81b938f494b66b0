"""What a benchmark returns: timings side by side, and the figures that are drawn from them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every benchmark is told.

    Attributes:
        device: ``cpu`` or ``cuda``: where networks run.
        quick: few repetitions and the small sizes only.
        folder: an empty folder of the run's own, gone afterwards.
        root: where the SynthGym clips lie or are rendered.
        curves: file of learning curves or result store that `search` replays; None: the recorded ones.
    """

    device: str = "cpu"
    quick: bool = False
    folder: Path
    root: str = "data"
    curves: str | None = None

    def repeats(self, thorough: int, quick: int) -> int:
        """How many repetitions."""
        return quick if self.quick else thorough


@dataclass(frozen=True)
class Case:
    """Ways to do the same, timed.

    Attributes:
        question: in a line.
        seconds: of each way, a value a repeat, for one `unit`.
        unit: what the seconds are for.
        baseline: the way that the others are compared with.
        targets: how many times as fast a way is meant to be.
        notes: lines below the table.
        columns: further columns of the table: heading → way → text.
    """

    question: str
    seconds: dict[str, list[float]]
    unit: str
    baseline: str
    targets: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    columns: dict[str, dict[str, str]] = field(default_factory=dict)

    def median(self, way: str) -> float:
        """Median seconds."""
        return statistics.median(self.seconds[way])

    def ratio(self, way: str) -> float:
        """How many times as fast as the baseline: the median over repeats of the ratio within a repeat."""
        pairs = zip(self.seconds[self.baseline], self.seconds[way], strict=True)
        return statistics.median(base / own for base, own in pairs)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number that a benchmark stands for, printed at the end as ``name=value``.

    Attributes:
        name: as printed.
        value: NaN where it was not measured.
        unit: of the value; empty for a ratio.
        least: the target, where more is better.
        most: the target, where less is better.
    """

    name: str
    value: float
    unit: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def verdict(self) -> str:
        """The target and whether it is met; empty without one."""
        if self.least is None and self.most is None:
            return ""
        sign, target = ("≥", self.least) if self.least is not None else ("≤", self.most)
        assert target is not None
        met = self.value >= target if self.least is not None else self.value <= target
        return f"{sign} {target:g}: {'met' if met else 'missed'}"


@dataclass(frozen=True)
class Findings:
    """All that a benchmark has found."""

    benchmark: str
    cases: Sequence[Case]
    figures: Sequence[Figure]
