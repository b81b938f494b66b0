"""Which of several methods is best on dev: over the runs that all of them have, since seeds are not equally hard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from studies.results.schema import METRIC
from studies.results.stats.paired import PAIR

DIGITS = 6  # of percent, beyond which means differ by rounding alone


@dataclass(frozen=True)
class DevOrder:
    """Methods by their accuracy on dev.

    Attributes:
        dev: mean dev accuracy in percent over the shared runs, the best first; methods of equal accuracy by name.
            Where nothing is shared, over each method's own runs, those with most runs first.
        shared: scopes, label splits and training seeds that all methods have; 0 where there are none.
        left_out: runs of further splits or seeds, which had no say.
        most: runs of the method that has most of them.
    """

    dev: dict[str, float]
    shared: int
    left_out: int
    most: int

    @property
    def best(self) -> str | None:
        """The first method; None where no run was evaluated on dev."""
        return next(iter(self.dev), None)

    @property
    def tied(self) -> list[str]:
        """All methods that are as good on dev as the best, itself among them."""
        same = [method for method, value in self.dev.items() if value == self.dev[str(self.best)]]
        return same if self.shared else same[:1]  # means over different runs are not compared

    def notes(self, short: Callable[[str], str] = str) -> list[str]:
        """What limits the choice, a sentence each; none for one method, or where all have the same runs.

        Args:
            short: makes a method's name shorter.
        """
        if len(self.dev) < 2:
            return []
        if not self.shared:
            runs = f"{self.most} run{'' if self.most == 1 else 's'}"
            return [
                "No label split and training seed is shared by all, so the one with most runs comes first: "
                f"{short(str(self.best))} ({runs})."
            ]
        said = []
        if self.left_out:
            runs = f"the {self.shared} runs" if self.shared > 1 else "the one run"
            more = f"{self.left_out} further run" + (" is" if self.left_out == 1 else "s are")
            said.append(f"Chosen on dev over {runs} that each has in common with the others; {more} left out of it.")
        if len(self.tied) > 1:
            said.append(f"Equally good on dev: {', '.join(short(m) for m in self.tied)}.")
        return said


def order_on_dev(scores: pd.DataFrame) -> DevOrder:
    """Methods from the best on dev to the worst, over the label splits and training seeds that all of them have.

    A study that was stopped may have one method on an easy seed only; its plain mean would win for that.

    Args:
        scores: of `tidy_scores`, the candidates' rows alone; runs without dev accuracy are passed over.
    """
    known = scores[scores[METRIC].notna()]
    if known.empty:
        return DevOrder({}, 0, 0, 0)
    table = known.pivot_table(index=PAIR, columns="method", values=METRIC, aggfunc="mean")
    common = table.dropna()
    runs = known.method.value_counts()
    means = (common if len(common) else table).mean().round(DIGITS)
    ranks = {m: (0 if len(common) else -runs[m], -means[m], str(m)) for m in means.index}
    dev = {str(m): float(means[m]) for m in sorted(means.index, key=lambda m: ranks[m])}
    within = pd.MultiIndex.from_frame(known[PAIR]).isin(common.index)
    left_out = int((~within).sum()) if len(common) else 0
    return DevOrder(dev, len(common), left_out, int(runs.max()))
