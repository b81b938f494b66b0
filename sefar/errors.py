"""The errors users meet. Each message says where, what was expected, what came, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SefarError(Exception):
    """Base of every error whose message alone is meant for the user (command lines print no traceback)."""


class ConfigError(SefarError, ValueError):
    """A configuration value, key, recipe or command-line flag is wrong."""


class ScopeError(SefarError, ValueError):
    """A label scope is unknown, malformed, or cannot be built from the clips at hand."""


class DataError(SefarError, RuntimeError):
    """A data folder, list or annotation file cannot be read, or cannot be written."""


class DecodeError(DataError):
    """A clip does not decode. The message names the file, the frame and the cause."""


class CheckpointError(SefarError, RuntimeError):
    """A checkpoint is missing, foreign, truncated, or does not fit the model."""


class TrainingError(SefarError, RuntimeError):
    """Training cannot go on, for instance because a loss is not finite.

    Attributes:
        clip_ids: all clips of the batch it happened at, of which the message names a few; empty where there is none.
    """

    def __init__(self, message: str, clip_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.clip_ids = clip_ids


class StoreError(SefarError, RuntimeError):
    """A result store is foreign, unreadable, or cannot be written."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `` — did you mean 'x'?`` or, when nothing is near, `` — valid: a, b``, for an error message."""
    valid = sorted(valid)
    folded = {one.casefold(): one for one in valid}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f" — did you mean '{folded[close[0]]}'?" if close else f" — valid: {', '.join(valid)}"
