"""What a trial trains: the one place where the engine meets the method, so that tests can put a toy in its place."""

from __future__ import annotations

import importlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
from tqdm import tqdm

from sefar.config import TrainConfig
from sefar.errors import ConfigError, SefarError

if TYPE_CHECKING:
    import torch

    from sefar.training.distributed import World

log = logging.getLogger(__name__)


class Trains(Protocol):
    """The part of `sefar.training.trainer.Trainer` that a trial uses."""

    epochs: int
    scope: Any
    device: Any

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        ...

    def train_epoch(self) -> Any:
        """Train one epoch; a report with ``to_dict()``."""
        ...

    def evaluate(self, part: str) -> Any:
        """Metrics and predictions of ``test``."""
        ...

    def regulation(self) -> pd.DataFrame:
        """Binned confidence and spread."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class Workload(Protocol):
    """Makes trainers."""

    def prepare(self, config: TrainConfig, *, decode: bool = True) -> str:
        """Bring the scope's clips to disk before any trial starts, decoded ones too; the split's hash."""
        ...

    def cost(self, config: TrainConfig) -> float:
        """What a whole trial takes, in clips read; only the order of costs counts."""
        ...

    def trainer(
        self,
        config: TrainConfig,
        processes: int = 1,
        *,
        world: World | None = None,
        device: torch.device | None = None,
    ) -> Trains:
        """A trainer at epoch 0, shared by so many processes, or one of those of `world` which make the same calls."""
        ...


class SefarWorkload:
    """The method itself."""

    def prepare(self, config: TrainConfig, *, decode: bool = True) -> str:
        """Resolve the scope, rendering the SynthGym clips it needs, and decode its clips once for all trials.

        Args:
            config: a trial of the scope.
            decode: whether trials run on this machine; decoded clips would be of no use to others.

        Raises:
            ConfigError: there are no dev clips to choose trials by.
            ScopeError: clips are missing.
        """
        from sefar.data.frame_estimate import distinct_windows
        from sefar.data.scopes import load_scope

        if not config.scope.dev_fraction:
            raise ConfigError("scope.dev_fraction: a study chooses by dev clips, so expected a share above 0, got 0")
        scope = load_scope(config.scope, progress=True)
        if decode:
            fill_frame_store(config, distinct_windows(scope.labelled, scope.unlabelled, scope.dev, scope.test))
        return scope.split_hash

    def cost(self, config: TrainConfig) -> float:
        """Clips read; where an epoch is a fixed number of steps, dev and test clips tell scopes apart."""
        from sefar.data.scopes import load_scope

        scope = load_scope(config.scope, progress=False)
        clips = config.loader.labelled + config.loader.unlabelled
        steps = config.optim.steps_per_epoch or max(1, -(-len(scope.unlabelled) // config.loader.unlabelled))
        return float(config.optim.epochs * (steps * clips + len(scope.dev)) + len(scope.test))

    def trainer(
        self,
        config: TrainConfig,
        processes: int = 1,
        *,
        world: World | None = None,
        device: torch.device | None = None,
    ) -> Trains:
        """A trainer on a GPU where Ray has assigned one, else on the CPU; of several processes always on the CPU."""
        from sefar.data.scopes import load_scope
        from sefar.training.device import choose_device
        from sefar.training.heap import keep_heap
        from sefar.training.team import Team
        from sefar.training.trainer import Trainer

        scope = load_scope(config.scope, progress=False)
        if processes > 1 or choose_device(device).type == "cpu":
            keep_heap()  # of the trial's process
        if processes > 1:
            return Team(config, scope, processes=processes)
        return Trainer(config, scope, device=device, world=world)


def fill_frame_store(config: TrainConfig, windows: list[tuple[str, int, int]]) -> None:
    """Decode clips into the frame store, so that concurrent trials find them there.

    Clips that do not decode are logged in one line; the trial that meets one fails with the clip's own.

    Args:
        config: where the store lies, and how and how large frames are kept.
        windows: path, first frame and end frame of each clip.
    """
    from sefar.data.frame_estimate import announce_fill
    from sefar.data.loaders import open_store

    store = open_store(config.loader, config.views, config.scope.root)  # as `Trainer` does
    announce_fill(store, windows)

    def failure(window: tuple[str, int, int]) -> str | None:
        try:
            store.frames(*window)
        except (SefarError, OSError) as error:
            return str(error)
        return None

    failures: list[str] = []
    threads = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads) as pool:
        for at in tqdm(range(0, len(windows), threads), desc="decoding clips", delay=5, leave=False, disable=None):
            failures += [f for f in pool.map(failure, windows[at : at + threads]) if f is not None]
            store.close()  # each mapped clip holds a file descriptor
            if not store.storing:
                break  # it is off, or full or not writable and has said so
    if failures:
        log.warning(
            "%d of %d clips of scope '%s' do not decode, the first: %s; trials that meet them fail",
            len(failures),
            len(windows),
            config.scope.name,
            failures[0],
        )


DEFAULT_WORKLOAD = "studies.engine.workload:SefarWorkload"


def load_workload(name: str) -> Workload:
    """Make the workload named ``module:Class``."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)()
