"""One run trained by several processes of this machine: a trainer here, and followers that make the same calls.

    with closing(Team(config, scope, processes=2)) as trainer:
        trainer.train_epoch()

The processes share every step as `distributed` has it, on the CPU with gloo.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import torch
import torch.distributed as dist

from sefar.config import TrainConfig
from sefar.data.scopes import Scope
from sefar.errors import ConfigError, SefarError, TrainingError
from sefar.training.distributed import World
from sefar.training.evaluate import Evaluation
from sefar.training.heap import keep_heap
from sefar.training.report import EpochReport
from sefar.training.trainer import Trainer

log = logging.getLogger(__name__)

STEP_TIMEOUT = timedelta(days=1)
"""Far beyond what one process may be ahead of another; who dies is noticed at once by the connection."""
ALONE_SECONDS = 60.0
"""A follower whose call failed waits so long for rank 0's to end as well; if it does not, the others wait in vain."""
FAREWELL_SECONDS = 2.0
"""Followers between two calls leave at once; those amid one would wait for a step that will not come."""


class Team(Trainer):
    """A `Trainer` whose work followers share; the process it is made in is rank 0 of the default process group.

    Args:
        config: the run; ``loader`` counts the clips of all processes together.
        scope: its clips.
        processes: in all, from 2 up, among which the threads that this process has are shared out.

    Raises:
        ConfigError: too few processes, a batch that does not divide among them, or a process group exists already.
        TrainingError: a process died at its start.
    """

    def __init__(self, config: TrainConfig, scope: Scope, *, processes: int) -> None:
        world = World(0, processes)
        if processes < 2:
            raise ConfigError(f"processes: expected an integer ≥ 2, got {processes}")
        if dist.is_initialized():
            raise ConfigError("processes: this process is of a process group already; train one run at a time")
        world.check(config.loader.labelled)
        self._meeting = tempfile.TemporaryDirectory(prefix="sefar-team-")
        address = f"file://{self._meeting.name}/group"
        spawn = multiprocessing.get_context("spawn")  # torch must not be forked
        self._calls: list[Connection] = []
        self._followers: list[SpawnProcess] = []
        self._calling, self._threads = False, torch.get_num_threads()
        torch.set_num_threads(max(1, self._threads // processes))
        try:
            for rank in range(1, processes):
                theirs, ours = spawn.Pipe()
                arguments = (theirs, address, World(rank, processes), config, scope, torch.get_num_threads())
                follower = spawn.Process(target=_follow, args=arguments, daemon=True)
                follower.start()
                theirs.close()  # else neither would see the other's end closed
                self._calls.append(ours)
                self._followers.append(follower)
            self._wait_for_start()
            _join_group(address, world)
            super().__init__(config, scope, device="cpu", world=world)
            self._meeting.cleanup()  # all have met, and nothing is left behind when this process is killed
        except BaseException:
            self._dismiss()
            raise

    def _wait_for_start(self) -> None:
        """Wait here, where Ctrl-C and a follower's death are noticed, not in the making of the process group."""
        for calls, follower in zip(self._calls, self._followers, strict=True):
            try:
                calls.recv_bytes()
            except (EOFError, OSError) as error:
                follower.join(1)
                raise TrainingError(
                    f"a process of the run died at its start (exit code {follower.exitcode}), perhaps for want of "
                    "memory; use fewer processes. A script of your own has to guard what it runs by "
                    "`if __name__ == '__main__':`"
                ) from error

    def train_epoch(self) -> EpochReport:
        """As `Trainer.train_epoch`, together."""
        with self._together("train_epoch"):
            return super().train_epoch()

    def evaluate(self, part: str, *, final: bool = True) -> Evaluation:
        """As `Trainer.evaluate`."""
        with self._together("evaluate", part, final=final):
            return super().evaluate(part, final=final)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Trainer.load_state_dict`, in every process; any number of processes may go on from a state."""
        with self._together("load_state_dict", state):
            super().load_state_dict(state)

    def close(self) -> None:
        """Send the followers home."""
        super().close()
        self._dismiss()

    @contextlib.contextmanager
    def _together(self, name: str, *arguments: Any, **named: Any) -> Iterator[None]:
        """Have the followers make a call of this trainer too; calls within the call they make by themselves."""
        if self._calling:
            yield
            return
        self._calling = True
        try:
            for calls in self._calls:
                # pickled here: `send` would hand tensors over as shared memory, and followers would write into ours
                calls.send_bytes(pickle.dumps((name, arguments, named)))
            yield
        except (RuntimeError, OSError) as error:
            if isinstance(error, SefarError):
                raise
            for follower in self._followers:
                follower.join(1)  # the error of a broken connection can come before the end of the process
            dead = [follower for follower in self._followers if not follower.is_alive()]
            if not dead:
                raise
            raise TrainingError(
                f"{len(dead)} of {self.world.size} processes of the run died (exit code {dead[0].exitcode}), perhaps "
                "for want of memory; use fewer processes or go on from the last checkpoint"
            ) from error
        finally:
            self._calling = False
            for calls in self._calls:
                with contextlib.suppress(OSError):
                    calls.send_bytes(b"")  # the call is over

    def _dismiss(self) -> None:
        for calls in self._calls:
            calls.close()
        end = time.monotonic() + FAREWELL_SECONDS
        for follower in self._followers:
            follower.join(max(0.0, end - time.monotonic()))
        for follower in self._followers:
            follower.kill()
            follower.join()
        if dist.is_initialized():
            dist.destroy_process_group()
        self._meeting.cleanup()
        torch.set_num_threads(self._threads)


def _join_group(address: str, world: World) -> None:
    dist.init_process_group("gloo", init_method=address, rank=world.rank, world_size=world.size, timeout=STEP_TIMEOUT)


def _follow(calls: Connection, address: str, world: World, config: TrainConfig, scope: Scope, threads: int) -> None:
    """Make the calls that rank 0 makes, until it hangs up or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 says when to stop
    logging.disable(logging.ERROR)  # rank 0 says it
    torch.set_num_threads(threads)
    keep_heap()
    try:
        calls.send_bytes(b"here")
        _join_group(address, world)
        trainer = Trainer(config, scope, device="cpu", world=world)
        while True:
            call = calls.recv_bytes()
            if call:
                _make_call(trainer, calls, *pickle.loads(call))
    except Exception:
        if not _hung_up(calls):
            raise
    os._exit(0)  # rank 0 may be gone already, so that leaving the group in order could wait for ever


def _make_call(
    trainer: Trainer, calls: Connection, name: str, arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """Make a call; an error of the run is rank 0's too, which decides what comes next."""
    try:
        getattr(trainer, name)(*arguments, **named)
    except SefarError as error:
        if not calls.poll(ALONE_SECONDS):
            log.critical("process %d of %d: %s", trainer.world.rank, trainer.world.size, error)
            os._exit(1)


def _hung_up(calls: Connection) -> bool:
    """Whether rank 0 is gone, or leaves for the same reason as this process."""
    try:
        while calls.poll(5):
            calls.recv_bytes()
    except (EOFError, OSError):
        return True
    return False
