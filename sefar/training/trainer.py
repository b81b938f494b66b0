"""The trainer: an iterator of epoch reports (METHOD.md §5).

    trainer = Trainer(config, load_scope(config.scope))
    for report in trainer:
        print(report.epoch, report.dev_student_top1)

Every draw of a step is a function of the seed and the step's number, so a run that stops at any step boundary and goes
on from `state_dict` equals the uninterrupted run bit for bit on a CPU. An epoch is a number of optimiser steps, each of
``optim.accumulate`` micro-batches, so no accumulation is ever left over at its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from sefar.config import TrainConfig
from sefar.data.batch import Batch, Share
from sefar.data.frame_estimate import announce_fill, distinct_windows
from sefar.data.loaders import BatchSource, ClipReader, open_store
from sefar.data.scopes import Scope
from sefar.errors import CheckpointError, TrainingError
from sefar.models.granularity import SefarNet
from sefar.models.pretrained import load_pretrained
from sefar.ssl import objective
from sefar.ssl.teacher import PseudoLabels, ema_update, make_teacher
from sefar.ssl.weighting import build_weighting
from sefar.training.device import choose_device
from sefar.training.distributed import World
from sefar.training.evaluate import Evaluation, evaluate_part
from sefar.training.precision import autocast, choose_dtype, compile_encoder
from sefar.training.regulation import RegulationHistogram
from sefar.training.report import NAN, EpochReport
from sefar.training.schedule import build_optimiser, set_learning_rate
from sefar.training.step import Criterion, StepLoss


class Trainer:
    """Trains one configuration on one scope.

    Args:
        config: the run.
        scope: its clips, as `load_scope` gives them.
        device: ``cpu``, ``cuda``, …; None: a GPU where there is one.
        frame_store: folder of the frame store; None: the configuration's.
        world: the processes that train together, each with a trainer of the same configuration and scope, which all
            make the same calls. ``loader`` counts the clips of all processes together. None: alone.

    Raises:
        ConfigError, CheckpointError: no such device, the network or its weights cannot be made, or a batch does not
            divide among the processes.
    """

    def __init__(
        self,
        config: TrainConfig,
        scope: Scope,
        *,
        device: str | torch.device | None = None,
        frame_store: str | Path | None = None,
        world: World | None = None,
    ) -> None:
        self.config, self.scope, self.world = config, scope, world or World()
        self.world.check(config.loader.labelled)
        self.device = choose_device(device)
        self.epochs = config.optim.epochs
        self.store = open_store(config.loader, config.views, config.scope.root, frame_store)
        self.source = BatchSource(
            scope.labelled,
            scope.unlabelled,
            store=self.store,
            loader=config.loader,
            sampling=config.sampling,
            views=config.views,
            seed=config.seed,
            share=self._share if self.world.size > 1 else None,
            scale_on_device=self.device.type == "cuda",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            student = SefarNet(
                config.model,
                image_size=config.views.size,
                frames_per_granularity=config.sampling.frames_per_granularity,
                num_classes=scope.num_classes,
            )
        loaded = load_pretrained(student, config.model)
        self.student = student.to(self.device)
        if config.optim.compile:
            compile_encoder(self.student)
        self.dtype = choose_dtype(config.optim.precision, self.device)
        self.teacher: SefarNet | None = None
        self.weighting = build_weighting(config.weighting, scope.num_classes).to(self.device)
        self._forward = self.world.wrap(self.student, self.device)
        self.criterion = Criterion(
            config, self.student, self._forward, self.weighting, autocast=self._autocast, world=self.world
        )
        self.optimiser = build_optimiser(config.optim, self.student, fresh=loaded.missing if loaded else ())
        self.steps_per_epoch = config.optim.steps_per_epoch or max(
            1, -(-len(scope.unlabelled) // (config.loader.unlabelled * config.optim.accumulate))
        )
        self.decay = config.teacher.decay_per_step(self.steps_per_epoch)
        self.step = 0  # optimiser steps finished
        self.on_step: Callable[[int], None] | None = None  # told of every step's end
        self._sums: dict[str, list[float]] = {}  # running means of the epoch under way: [sum, count]
        self._histogram = RegulationHistogram()

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.dtype)

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.step // self.steps_per_epoch

    def __iter__(self) -> Iterator[EpochReport]:
        """Train the epochs that remain, yielding a report after each."""
        if self.world.rank == 0:
            scope = self.scope
            announce_fill(self.store, distinct_windows(scope.labelled, scope.unlabelled, scope.dev, scope.test))
        while self.epoch < self.epochs:
            yield self.train_epoch()

    def train_epoch(self) -> EpochReport:
        """Train to the end of the epoch under way and evaluate on dev, if the scope has dev clips.

        Raises:
            TrainingError: a loss is not finite (its ``clip_ids`` are the batch's), or there is no epoch left.
            DecodeError: a clip does not decode.
        """
        if self.epoch >= self.epochs:
            raise TrainingError(f"all {self.epochs} epochs are trained; raise optim.epochs for more")
        epoch, started, waited = self.epoch, time.perf_counter(), 0.0
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with_unlabelled = self.config.objective.uses_unlabelled and epoch >= self.config.objective.warmup_epochs
        if with_unlabelled and self.teacher is None:
            self._make_teacher()
        accumulate = self.config.optim.accumulate
        numbers = range(self.step * accumulate, (epoch + 1) * self.steps_per_epoch * accumulate)
        batches = self.source.batches(numbers, with_unlabelled=with_unlabelled)
        rate = 0.0
        # closed on an error too, else the loader's threads would go on with the batches asked for
        with closing(batches), torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            for _ in range(len(numbers) // accumulate):
                micro_batches, seconds = self.world.agreed(lambda: _read(batches, accumulate), self.device)
                waited += seconds
                rate = self.train_step(micro_batches)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the last step may still be under way
        train_seconds = time.perf_counter() - started
        clips = self.config.loader.labelled + (self.config.loader.unlabelled if with_unlabelled else 0)
        return self._report(
            epoch,
            learning_rate=rate,
            train_seconds=train_seconds,
            data_wait_seconds=waited,
            clips_per_second=len(numbers) * clips / train_seconds,
        )

    def _report(self, epoch: int, **timing: float) -> EpochReport:
        started = time.perf_counter()
        dev = self.evaluate("dev", final=False).metrics if len(self.scope.dev) else {}
        means = {name: total / count for name, (total, count) in self._sums.items() if count}
        self._sums = {}
        memory = torch.cuda.max_memory_allocated(self.device) / 2**20 if self.device.type == "cuda" else NAN
        return EpochReport(
            epoch=epoch + 1,
            step=self.step,
            ramp=objective.ramp(epoch, self.epochs, self.config.objective.warmup_epochs) if self.teacher else 0.0,
            dev_student_top1=dev.get("student_top1", NAN),
            dev_student_mean_class=dev.get("student_mean_class", NAN),
            dev_teacher_top1=dev.get("teacher_top1", NAN),
            eval_seconds=time.perf_counter() - started,
            peak_memory_mib=memory,
            **means,
            **timing,
        )

    def train_step(self, micro_batches: list[Batch]) -> float:
        """One optimiser step over the micro-batches; returns the learning rate."""
        epoch = self.epoch
        total_steps = self.epochs * self.steps_per_epoch
        rate = set_learning_rate(self.optimiser, self.config.optim, self.step, total_steps)
        self.optimiser.zero_grad(set_to_none=True)
        for part, batch in enumerate(micro_batches):
            seed = derived_seed(self.config.seed, self.step, part)
            # dropout and drop path draw from the global stream, which is seeded per step and restored after the epoch
            torch.manual_seed(seed + 1)
            with self._gradients_shared(last=part == len(micro_batches) - 1):
                found = self.criterion(batch.to(self.device), self.teacher, epoch, torch.Generator().manual_seed(seed))
                self._note(found, batch)
                (found.total / len(micro_batches)).backward()
        if self.config.optim.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.config.optim.clip_norm)
        self.optimiser.step()
        if self.teacher is not None:
            ema_update(self.teacher, self.student, self.decay)
        self.step += 1
        if self.on_step is not None:
            self.on_step(self.step)
        return rate

    def _share(self, number: int) -> Share | None:
        """What this process reads of micro-batch `number`, by the draw that its step will make."""
        seed = derived_seed(self.config.seed, *divmod(number, self.config.optim.accumulate))
        loader = self.config.loader
        mix = self.criterion.draw_mix(loader.unlabelled, torch.Generator().manual_seed(seed))
        return self.world.needs(loader.labelled, loader.unlabelled, mix)

    def _gradients_shared(self, *, last: bool) -> AbstractContextManager[object]:
        """Gradients cross between processes once a step, with the last micro-batch."""
        if isinstance(self._forward, DistributedDataParallel) and not last:
            return self._forward.no_sync()
        return nullcontext()

    def _make_teacher(self) -> SefarNet:
        self.teacher = cast(SefarNet, make_teacher(self.student))
        if self.config.optim.compile:
            compile_encoder(self.teacher)
        return self.teacher

    def _note(self, found: StepLoss, batch: Batch) -> None:
        """Add a micro-batch to the epoch's means; of all processes, so that all stop where one loss is not finite."""
        means = self.world.mean(torch.stack(list(found.parts.values()))).tolist()
        values = dict(zip(found.parts, means, strict=True))
        if not np.isfinite(values["total_loss"]):
            raise TrainingError(
                f"the loss is not finite at step {self.step} (epoch {self.epoch}); lower optim.learning_rate or look "
                f"at the batch's clips: {', '.join(batch.clip_ids[:8])}, …",
                clip_ids=batch.clip_ids,
            )
        for name, value in values.items():
            self._add(name, value)
        if found.said is not None and found.weight_B is not None and batch.hidden_label_B is not None:
            self._note_pseudo_labels(found.said, found.weight_B, batch.hidden_label_B.to(self.device))

    def _add(self, name: str, value: float) -> None:
        if not np.isnan(value):
            entry = self._sums.setdefault(name, [0.0, 0.0])
            entry[0] += value
            entry[1] += 1

    def _note_pseudo_labels(self, said: PseudoLabels, weight_B: Tensor, hidden_label_B: Tensor) -> None:
        for name, value_B in (("weight", weight_B), ("confidence", said.confidence_B), ("spread", said.spread_B)):
            self._add(f"{name}_mean", float(value_B.mean()))
        quality = objective.pseudo_label_quality(said.label_B, weight_B, hidden_label_B)
        for name, value in quality.items():
            self._add(name, value)
        self._histogram.add(self.epoch + 1, said, weight_B, hidden_label_B)

    def regulation(self) -> pd.DataFrame:
        """Binned confidence and spread of the last epoch with pseudo-labels: the data behind the paper's Fig. 5."""
        return self._histogram.table()

    def evaluate(self, part: str, *, final: bool = True) -> Evaluation:
        """Evaluate student and teacher on ``dev`` or ``test``; `final` uses all views and crops.

        Of several processes each evaluates its share of the clips; all get the result.
        """
        table = {"dev": self.scope.dev, "test": self.scope.test}[part]
        with self._autocast():
            return evaluate_part(
                self.student,
                self.teacher,
                ClipReader(table, self.store, self.config.sampling),
                view_config=self.config.views,
                config=self.config.evaluation,
                teacher_config=self.config.teacher,
                final=final,
                seed=self.config.seed,
                device=self.device,
                world=self.world,
            )

    def state_dict(self) -> dict[str, Any]:
        """All that resuming needs; tensors and plain values only."""
        return {
            "config": self.config.to_dict(),
            "config_hash": self.config.content_hash(),
            "split_hash": self.scope.split_hash,
            "available_hash": self.scope.available_hash,
            "step": self.step,
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict() if self.teacher is not None else None,
            "optimiser": self.optimiser.state_dict(),
            "weighting": self.weighting.state_dict(),
            "sums": {name: list(entry) for name, entry in self._sums.items()},
            "histogram": self._histogram.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same configuration and split.

        Raises:
            CheckpointError: the state is of another configuration or label split, or other clips were missing.
        """
        for key, what, ours in (
            ("config_hash", "config", self.config.content_hash()),
            ("split_hash", "split", self.scope.split_hash),
            ("available_hash", "set of clips at hand", self.scope.available_hash),
        ):
            if state.get(key) != ours:
                raise CheckpointError(
                    f"the checkpoint is of another {what} ({state.get(key)}, expected {ours}); "
                    "resume with the configuration and data it was written with"
                )
        self.student.load_state_dict(state["student"])
        self.teacher = None
        if state["teacher"] is not None:
            self._make_teacher().load_state_dict(state["teacher"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.weighting.load_state_dict(state["weighting"])
        self.step = state["step"]
        self._sums = {name: list(entry) for name, entry in state["sums"].items()}
        self._histogram.load_state_dict(state["histogram"])

    def close(self) -> None:
        """End the loader's threads and let go of the mapped clips."""
        self.source.close()
        self.store.close()


def _read(batches: Iterator[Batch], count: int) -> tuple[list[Batch], float]:
    """The next batches, and the seconds that they were waited for."""
    started = time.perf_counter()
    return [next(batches) for _ in range(count)], time.perf_counter() - started


def derived_seed(seed: int, step: int, part: int) -> int:
    """A 62-bit seed for one micro-batch of one step."""
    return int(np.random.SeedSequence([seed, 4, step, part]).generate_state(1, np.uint64)[0] >> np.uint64(2))
