"""What a node does to fill its frame store: decodes a block of clips. Imports no more than it needs."""

from __future__ import annotations

import logging
import platform
from typing import Any

import numpy as np

from sefar.config import TrainConfig
from sefar.data.frame_estimate import Window
from sefar.data.framestore import FrameStore
from sefar.data.loaders import open_store
from sefar.errors import SefarError

THERE, DECODED, FAILED, NOT_KEPT = "there", "decoded", "failed", "not kept"


def is_there(store: FrameStore, window: Window) -> bool:
    """Whether a clip lies in the store."""
    file = store.file(*window)
    return file is not None and file.is_file()


def decode_batch(batch: dict[str, np.ndarray], config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Decode a block of clips into the node's frame store; runs on a worker."""
    made = TrainConfig.from_dict(config)
    store = open_store(made.loader, made.views, made.scope.root)
    windows = zip(batch["path"], batch["start_frame"], batch["end_frame"], strict=True)
    found = [_decode(store, (str(path), int(start), int(end))) for path, start, end in windows]
    return {
        "host": np.array([platform.node()] * len(found), dtype=object),
        "outcome": np.array([outcome for outcome, _, _ in found], dtype=object),
        "said": np.array([said for _, said, _ in found], dtype=object),
        "bytes": np.array([size for _, _, size in found], dtype=np.int64),
    }


def _decode(store: FrameStore, window: Window) -> tuple[str, str, int]:
    if is_there(store, window):
        return THERE, "", 0
    reasons = _Reasons()
    listening = logging.getLogger("sefar.data.framestore")
    listening.addHandler(reasons)
    try:
        store.frames(*window)
        file = store.file(*window)
        if file is not None and file.is_file():
            return DECODED, "", file.stat().st_size
    except (SefarError, OSError) as error:
        return FAILED, f"{platform.node()}: {' '.join(str(error).split())}", 0
    finally:
        listening.removeHandler(reasons)
        store.close()  # each mapped clip holds a file descriptor
        store.storing = store.encoding != "off"  # the next clip may find room, or say why not
    return NOT_KEPT, f"{platform.node()}: {reasons.last or 'the store takes no more clips'}", 0


class _Reasons(logging.Handler):
    """Keeps what the frame store says of a clip that it does not keep."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()
