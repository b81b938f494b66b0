"""Memory of a process that trains on a CPU: what a step frees stays for the next one."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # glibc's malloc.h
SWITCH = "SEFAR_KEEP_HEAP"
NEVER = -1  # as a threshold


@functools.cache
def keep_heap() -> bool:
    """Have the C library keep freed memory for the process's next allocations; whether it could be told so.

    By itself glibc gives large blocks back to the system at once, which fills them with zeros, page by page, when the
    next step asks for them again: a sixth of a small network's step. What a process takes is its peak either way.

    It concerns the whole process, so it is for processes whose work is training. ``SEFAR_KEEP_HEAP=0`` leaves all as it
    is.
    """
    if os.environ.get(SWITCH) == "0" or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, NEVER))
