"""What decord's FFmpeg reports while it decodes: damage that it conceals in the frames it hands over."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

AV_LOG_ERROR = 16


_errors = [0]


@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _on_message(_source: int, level: int, _format: bytes, _values: int) -> None:
    if level <= AV_LOG_ERROR:
        _errors[0] += 1


@cache
def listen(decord_file: Path) -> Callable[[], int]:
    """Count the errors that decord's own FFmpeg logs in this process, in place of printing them.

    decord has no way to ask. Threads share the count: one's damaged clip makes others read theirs again, no more.

    Args:
        decord_file: of the package; the wheel keeps its FFmpeg beside it.

    Returns:
        a function that tells how many so far; it stays at 0 where decord was built with an FFmpeg from elsewhere.
    """
    for library in sorted((decord_file.parent.parent / "decord.libs").glob("libavutil*.so*")):
        ctypes.CDLL(str(library)).av_log_set_callback(_on_message)
    return lambda: _errors[0]
