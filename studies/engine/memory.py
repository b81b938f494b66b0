"""That a process which runs trial after trial gives back what each of them took."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import torch

from studies.engine.trial_run import RunSettings

HELD_BYTES = 64 * 2**20  # of a GPU that libraries may keep between trials (workspaces of cuBLAS and cuDNN)
CONTEXT_BYTES = 2**29  # of a GPU that each process takes beside its tensors


def cap_gpu_memory(settings: RunSettings) -> None:
    """Let this process fill no more of its GPU than the trial's part: what takes too much fails, not its neighbours.

    The part is `RunSettings.memory_fraction`, or where trials share a GPU this one's share less what CUDA itself takes.
    """
    if not torch.cuda.is_available() or not settings.gpus:
        return
    fraction = settings.memory_fraction
    if fraction is None and settings.gpus < 1:
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        fraction = max(settings.gpus - CONTEXT_BYTES / total, settings.gpus / 2)
    if fraction is not None:
        torch.cuda.set_per_process_memory_fraction(fraction)


class MemoryWatch:
    """Sees to it that nothing of a trial outlives it in a process that is used again."""

    def __init__(self) -> None:
        self._gpu_bytes = 0
        self._trainer: weakref.ref[Any] | None = None

    def starts(self) -> None:
        """A trial begins."""
        self._trainer = None
        self._gpu_bytes = _gpu_bytes()

    def ends(self, trainer: Any) -> None:
        """A trial is about to end.

        Args:
            trainer: its trainer; None: it has none (yet).
        """
        self._trainer = weakref.ref(trainer) if trainer is not None else None

    def still_held(self) -> str:
        """What of the ended trial is still there, for a message; empty where nothing is."""
        gc.collect()  # networks, optimisers and hooks refer to each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self._trainer is not None and self._trainer() is not None:
            return "its trainer is still referred to"
        more = _gpu_bytes() - self._gpu_bytes
        return f"{more / 2**20:.0f} MiB of the GPU are still held" if more > HELD_BYTES else ""


def _gpu_bytes() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_initialized() else 0
