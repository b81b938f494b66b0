"""An ablation over scopes and seeds: its runs, what they are in words, and the tables of what came out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sefar.config import TrainConfig
from sefar.errors import ConfigError
from studies.arms import Ablation, Arm, seeded
from studies.engine.grid import GridRun
from studies.engine.spec import Axis
from studies.results.arms_table import ArmRow, arms_table
from studies.results.schema import FINISHED
from studies.results.store import ResultStore


@dataclass(frozen=True, kw_only=True)
class ArmGrid:
    """Arms × scopes × seeds.

    Attributes:
        name: of the ablation.
        ablation: its arms.
        base: the configuration that they depart from, with the settings of all runs.
        recipe: its name.
        scopes: label scopes without split seed.
        seeds: number of seeds, from 0.
        study: name of the study in the store.
    """

    name: str
    ablation: Ablation
    base: TrainConfig
    recipe: str
    scopes: tuple[str, ...]
    seeds: int
    study: str

    def __post_init__(self) -> None:
        Axis(key="--scopes", values=self.scopes)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}", self.study):
            raise ConfigError(f"--name: expected letters, digits, '-', '_' or '.', got '{self.study}'")
        if self.seeds < 1:
            raise ConfigError(f"--seeds: expected an integer ≥ 1, got {self.seeds}")

    def cells(self) -> list[tuple[str, Arm, GridRun]]:
        """Scope, arm and run of every cell, seed by seed, so that a stopped study has whole comparisons.

        Raises:
            ConfigError, ScopeError: a scope or setting that does not go with an arm.
        """
        cells = []
        for seed in range(self.seeds):
            for scope in self.scopes:
                start = seeded(self.base, scope, seed)
                cells += [(scope, arm, self._run(arm, start)) for arm in self.ablation.arms]
        return cells

    def _run(self, arm: Arm, start: TrainConfig) -> GridRun:
        config = self.ablation.config(arm, start)
        # ablations whose reference is the recipe itself share its run; others (released recipes) have one of their own
        shared = not arm.changes and config == start
        return GridRun(
            study=self.study,
            role="reference" if shared else f"{self.name}/{arm.name}",
            seed=start.seed,
            config=config,
            parameters={**self.ablation.reference, **arm.changes},
        )

    def runs(self) -> list[GridRun]:
        """All runs in the order in which to run them."""
        return [run for _, _, run in self.cells()]

    @property
    def heading(self) -> str:
        """The question in one line."""
        source = f" (paper: {self.ablation.source})" if self.ablation.source else ""
        return f"{self.name}: {self.ablation.question}{source}"

    def differences(self, arm: Arm) -> str:
        """What the arm states, and whatever else differs from the recipe, as dotted keys with values."""
        was, now = self.base.flatten(), self.ablation.config(arm, self.base).flatten()
        shown = [key for key in now if now[key] != was[key] or key in arm.changes]
        return ", ".join(f"{key}={now[key]}" for key in shown) or "as the recipe"

    def describe(self, status: Mapping[str, str]) -> str:
        """Arms with the paper's numbers, then every run with its status in the store."""
        lines = [self.heading, f"arms, and what differs from recipe {self.recipe}:"]
        for arm in self.ablation.arms:
            lines.append(f"  {arm.name}{'' if arm.changes else ' (reference)'}: {arm.about}")
            lines.append(f"      {self.differences(arm)}")
            if arm.published:
                lines.append("      paper: " + ", ".join(f"{c} {value:g}" for c, value in arm.published.items()))
        cells = self.cells()
        lines.append(f"{len(cells)} runs:")
        for _, arm, run in cells:
            known = status.get(run.trial_id, "to run")
            lines.append(f"  {arm.name}  {run.config.scope.name}  seed {run.seed}  {run.trial_id}  {known}")
        return "\n".join(lines)

    def tables(self, store: ResultStore, *, made_by: str) -> str:
        """A Markdown table a scope over the finished runs.

        Args:
            store: holds them.
            made_by: command and versions, for the heading.
        """
        trials = store.trials(study=self.study)
        finished, cells = trials[trials.status == FINISHED], self.cells()
        parts = [
            f"## {self.heading}\n\nMade by {made_by}.\n"
            "Percent top-1 on the test set, which nothing was chosen by: mean ± standard deviation over seeds;\n"
            "differences are paired by seed; seconds are those of the longest run.\n"
            + ("The columns on the right are the paper's, ViT-S on real data.\n" if self.ablation.columns else "")
        ]
        rows = [ArmRow(name=arm.name, about=arm.about, published=arm.published) for arm in self.ablation.arms]
        for scope in self.scopes:
            arms = {run.trial_id: arm.name for where, arm, run in cells if where == scope}
            mine = finished[finished.trial_id.isin(list(arms))]
            table = arms_table(
                mine.assign(arm=mine.trial_id.map(arms)),
                rows,
                reference=self.ablation.reference_arm.name,
                columns=self.ablation.columns,
            )
            parts.append(f"### {scope}\n\n{table}")
        return "\n".join(parts)
