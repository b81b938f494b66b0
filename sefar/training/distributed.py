"""One step shared by several processes, equal to the step of one process on the joined batch.

`loader.labelled` counts the joined batch, so a configuration means the same whatever the number of processes. Every
process makes every draw for the whole of batch n (crops and frames, perturbation, channel dropout, mixing partners, the
teacher's head passes), but reads and works on its own rows alone, and on the strong views that these are mixed with.
What crosses between processes is the teacher's clip features (so that all know all pseudo-labels and hold the same
weighting state), the gradients, and the reported means. In evaluation each process answers for a run of the clips, and
all get all answers. Dropout and drop path of the student, and the teacher's drop path with
``teacher.stochastic=backbone``, are drawn per process.

Shape suffixes: B joined clips, b a process's own clips, S those whose strong views it has, T frames of all
granularities, F fusion width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sefar.data.batch import Share
from sefar.errors import ConfigError, SefarError, TrainingError
from sefar.models.granularity import SefarNet
from sefar.ssl.mixing import Mix
from sefar.ssl.teacher import Askable

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes that train together; alone by default.

    Attributes:
        rank: this process, 0-based.
        size: processes in all. More than one need torch's default process group.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> World:
        """The default process group where there is one, else alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def check(self, labelled: int) -> None:
        """See to it that a batch of `labelled` clips divides evenly.

        Raises:
            ConfigError: it does not.
        """
        if labelled % self.size:
            raise ConfigError(f"loader.labelled: expected a multiple of the {self.size} processes, got {labelled}")

    def share(self, x_B: Tensor) -> Tensor:
        """This process's rows (b, …) of a joined tensor (B, …): rank r has the r-th of equal runs."""
        own = len(x_B) // self.size
        return x_B[self.rank * own : (self.rank + 1) * own] if self.size > 1 else x_B

    def needs(self, labelled: int, unlabelled: int, mix: Mix | None) -> Share | None:
        """Which clips of a batch this process reads: its own, and the strong views of their partners; None: all.

        Args:
            labelled: joined labelled clips L.
            unlabelled: joined unlabelled clips B.
            mix: the batch's draw; None where nothing is mixed.
        """
        if self.size == 1:
            return None
        own_l, own_b = self.share(torch.arange(labelled)), self.share(torch.arange(unlabelled))
        partners = [] if mix is None else list(self.share(mix.partner_GB.T).T)
        return Share(own_l.numpy(), own_b.numpy(), torch.cat([own_b, *partners]).unique().numpy())

    def agreed(self, compute: Callable[[], T], device: torch.device) -> T:
        """What `compute` gives here; an error of one process is raised by all."""
        if self.size == 1:
            return compute()
        error: Exception | None = None
        try:
            value = compute()
        except SefarError as caught:
            error = caught
        except Exception as caught:  # others need not survive the way to another process
            error = TrainingError(f"process {self.rank} of {self.size}: {type(caught).__name__}: {caught}")
            error.__cause__ = caught
        failed = torch.tensor(float(error is not None), device=device)
        dist.all_reduce(failed, dist.ReduceOp.MAX)
        if failed:
            errors: list[Exception | None] = [None] * self.size
            dist.all_gather_object(errors, error)
            raise error or next(e for e in errors if e is not None)
        return value

    def join(self, x_b: Tensor) -> Tensor:
        """The joined rows (B, …) of every process's (b, …), in the order of ranks; no gradient passes."""
        if self.size == 1:
            return x_b
        parts = [torch.empty_like(x_b) for _ in range(self.size)]
        dist.all_gather(parts, x_b.contiguous())
        return torch.cat(parts)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes; a NaN of one is everyone's."""
        if self.size == 1:
            return values
        values = values.clone()
        dist.all_reduce(values)
        return values / self.size

    def wrap(self, net: SefarNet, device: torch.device) -> nn.Module:
        """The student as it is called in training, its gradients averaged over the processes."""
        if self.size == 1:
            return net
        return DistributedDataParallel(
            net,
            device_ids=[device] if device.type == "cuda" else None,
            # one granularity has no pair to fuse
            find_unused_parameters=not net.pairs,
        )

    def joint(self, teacher: SefarNet) -> Askable:
        """The teacher as `ask` wants it: given a process's own frames, it answers for the joined batch."""
        return _JointTeacher(teacher, self) if self.size > 1 else teacher

    def spread_seeds(self) -> None:
        """Let what is drawn next from torch's global streams differ between processes."""
        if self.size > 1:
            torch.manual_seed(torch.initial_seed() + 1 + self.rank)

    def run(self, count: int) -> range:
        """Which of `count` clips this process evaluates: runs as equal as can be; all of fewer clips than processes."""
        if count < self.size:
            return range(count)
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def join_runs(self, x_n: Tensor, count: int) -> Tensor:
        """All `count` rows of every process's run of them (n, …), floating; no gradient passes."""
        if self.size == 1 or count < self.size:
            return x_n
        longest = -(-count // self.size)
        padded = torch.zeros(longest, *x_n.shape[1:], device=x_n.device)  # float32: not all backends know the shorter
        padded[: len(x_n)] = x_n
        parts = self.join(padded).split(longest)
        runs = [part[: len(replace(self, rank=rank).run(count))] for rank, part in enumerate(parts)]
        return torch.cat(runs).to(x_n.dtype)


ALONE = World()


class _JointTeacher:
    """Own frames in, joined features out; the head then runs on all clips with the same dropout everywhere."""

    def __init__(self, teacher: SefarNet, world: World) -> None:
        self.teacher, self.world = teacher, world

    def embed(self, frames_bTCHW: Tensor) -> list[Tensor]:
        return self.teacher.embed(frames_bTCHW)

    def features(self, tokens: list[Tensor]) -> Tensor:
        return self.world.join(self.teacher.features(tokens).float())

    def head_passes(self, features_BF: Tensor, passes: int) -> Tensor:
        return self.teacher.head_passes(features_BF, passes)

    def modules(self) -> Iterator[nn.Module]:
        return self.teacher.modules()


def places_of(rows_S: Tensor, batch: int) -> Tensor:
    """Where each of `batch` clips is among the rows (B,); −1 for one that is not."""
    places_B = torch.full((batch,), -1)
    places_B[rows_S] = torch.arange(len(rows_S))
    return places_B


def partners_of_share(
    clean_STCHW: Tensor, rows_S: Tensor, mix: Mix, frames_per_granularity: tuple[int, ...], world: World
) -> tuple[Tensor, Mix]:
    """The frames that a process's own clips are mixed with, wherever the partners' rows are.

    Args:
        clean_STCHW: frames of some of the joined clips, granularity after granularity.
        rows_S: their positions among the joined clips.
        mix: the joined draw.
        frames_per_granularity: T_g.
        world: whose share.

    Returns:
        Frames (b, T, C, H, W), row i the partner of own clip i in each granularity, and the same mix with row i as
        partner i.

    Raises:
        ValueError: a partner is not among the rows.
    """
    if world.size == 1:
        return clean_STCHW, mix
    place_bG = places_of(rows_S, mix.partner_GB.shape[1])[world.share(mix.partner_GB.T)].to(clean_STCHW.device)
    if (place_bG < 0).any():
        raise ValueError("the batch lacks strong views that its clips are mixed with: it was made for another step")
    parts = clean_STCHW.split(frames_per_granularity, 1)
    frames = torch.cat([part[place_bG[:, g]] for g, part in enumerate(parts)], 1)
    in_place = torch.arange(len(place_bG)).expand(len(parts), -1)
    return frames, replace(mix, partner_GB=in_place)
