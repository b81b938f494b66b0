"""Fills a frame store with the CPUs of a cluster: clips stream through Ray Data, each is decoded once.

The store itself is what makes it restartable: a clip that lies in it is not decoded again, and one whose decoding was
cut short leaves nothing behind that is read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any, cast

import ray
import ray.data
from ray.data import DataContext

from sefar.config import TrainConfig
from sefar.data.frame_estimate import Window
from sefar.data.loaders import open_store
from sefar.errors import ConfigError
from studies.engine.decoding import DECODED, FAILED, THERE, decode_batch, is_there
from studies.engine.resources import NO_CPUS
from studies.engine.session import Cluster, connected
from studies.engine.shared_folder import blind_host, worker_nodes

CLIPS_A_BLOCK = 16  # decoded by one task: seconds of work, so that a lost node costs little
MOST_BLOCKS = 2000


@dataclass
class Filled:
    """What a fill has done.

    Attributes:
        there: clips that lay in the store already, counted for each store.
        decoded: clips that were decoded and stored.
        failures: a line for each clip that does not decode.
        not_kept: a line for each reason for which clips could not be stored, with their number.
        seconds: wall time.
        stored_bytes: of the clips decoded.
        hosts: clips decoded by each host.
    """

    there: int = 0
    decoded: int = 0
    failures: list[str] = field(default_factory=list)
    not_kept: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    stored_bytes: int = 0
    hosts: dict[str, int] = field(default_factory=dict)

    def add(self, host: str, outcome: str, said: str, size: int) -> None:
        """Count a clip."""
        if outcome == THERE:
            self.there += 1
        elif outcome == DECODED:
            self.decoded += 1
            self.stored_bytes += size
            self.hosts[host] = self.hosts.get(host, 0) + 1
        elif outcome == FAILED:
            self.failures.append(said)
        else:
            self.not_kept[said] = self.not_kept.get(said, 0) + 1


def fill(
    config: TrainConfig,
    windows: Sequence[Window],
    *,
    address: str,
    cpus_per_task: float = 1.0,
    each_node: bool = False,
    on_clips: Callable[[int], object] = lambda count: None,
) -> Filled:
    """Decode what a frame store lacks of some clips.

    Args:
        config: where the store lies, and how and how large frames are kept.
        windows: path, first frame and end frame of each clip.
        address: ``local`` or ``auto``.
        cpus_per_task: CPUs of a task, which decodes one clip at a time.
        each_node: every node has a store of its own and needs all clips; else all share the folder.
        on_clips: told of the number of clips dealt with, now and then.

    Raises:
        ConfigError: no cluster, or nodes that do not share the folder.
        RayFailure: the cluster gave up.
    """
    began = time.perf_counter()
    filled = Filled()
    store = open_store(config.loader, config.views, config.scope.root)
    if store.encoding == "off":
        raise ConfigError("loader.frame_store=off: there is no frame store to fill; leave the setting out")
    left = list(windows)
    if not each_node:
        left = [window for window in windows if not is_there(store, window)]
        filled.there = len(windows) - len(left)
        on_clips(filled.there)
    if left:
        with connected(Cluster(address=address)):
            nodes = worker_nodes()
            if not nodes:
                raise ConfigError(NO_CPUS)
            if not each_node:
                _check_shared(store.root, nodes)
                outcomes = _stream(config, left, cpus_per_task, None)
            else:
                outcomes = _on_each(nodes, lambda node: _stream(config, left, cpus_per_task, node))
            for block in outcomes:
                for outcome in block:
                    filled.add(*outcome)
                on_clips(len(block))
    filled.seconds = time.perf_counter() - began
    return filled


def _check_shared(folder: Path, nodes: list[str]) -> None:
    """Refuse a folder that some node does not see."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        blind = blind_host(folder, nodes)
    except OSError as error:
        raise ConfigError(f"frame store: {folder}: cannot be written ({error.strerror})") from error
    if blind is not None:
        raise ConfigError(
            f"frame store: {folder}: node {blind} does not see this folder; put it on a shared file system with "
            "--set loader.frame_store_folder=…, or fill the store of every node with --each-node"
        )


Outcome = tuple[str, str, str, int]  # host, outcome, what there is to say, bytes


def _on_each(nodes: Sequence[str], stream: Callable[[str], Iterator[list[Outcome]]]) -> Iterator[list[Outcome]]:
    """Blocks of the streams of several nodes as they come; all end when the reader lets go."""
    blocks: Queue[list[Outcome] | BaseException | None] = Queue()
    stopped = threading.Event()

    def read(node: str) -> None:
        try:
            for block in stream(node):
                blocks.put(block)
                if stopped.is_set():
                    return
            blocks.put(None)
        except BaseException as error:
            blocks.put(error)

    for node in nodes:
        threading.Thread(target=read, args=(node,), daemon=True).start()
    left = len(nodes)
    try:
        while left:
            block = blocks.get()
            if isinstance(block, BaseException):
                raise block
            if block is None:
                left -= 1
            else:
                yield block
    finally:
        stopped.set()


def _stream(
    config: TrainConfig, windows: Sequence[Window], cpus_per_task: float, node: str | None
) -> Iterator[list[Outcome]]:
    """Decode clips, on one node or on all; blocks of outcomes come as they are done, in any order."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    blocks = min(-(-len(windows) // CLIPS_A_BLOCK), MOST_BLOCKS)
    items = [{"path": path, "start_frame": start, "end_frame": end} for path, start, end in windows]
    outcomes = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        cast(Any, decode_batch),  # Ray's type wants one that takes every kind of batch
        batch_size=None,
        batch_format="numpy",
        num_cpus=cpus_per_task,
        fn_kwargs={"config": config.to_dict()},
        label_selector=None if node is None else {"ray.io/node-id": node},
    )
    for batch in outcomes.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
        rows = zip(batch["host"], batch["outcome"], batch["said"], batch["bytes"], strict=True)
        yield [(str(host), str(outcome), str(said), int(size)) for host, outcome, said, size in rows]
