"""Pickles from elsewhere: numpy arrays and plain Python values, nothing that runs code.

Numpy's own constructors are not let in: with a crafted dtype or buffer they read any address of the process. Stand-ins
take their place that build arrays of plain numbers, texts and objects, and check every length.
"""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from sefar.errors import DataError

PLAIN_KIND = re.compile(r"[<>=|]?(?:[biufcSU][0-9]*|O8?)", re.ASCII)


def read_pickle(path: Path, source: str) -> Any:
    """Unpickle a file without trusting it.

    Args:
        path: the file.
        source: where it comes from, for the message when it is missing.

    Raises:
        DataError: missing or damaged, or it asks for anything but numpy arrays and builtin containers; names that.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected a pickle {source}") from None
    except _Refused as error:
        raise DataError(
            f"{path}: asks for {error}, which could run code; expected numpy arrays and plain values"
        ) from None
    except Exception as error:  # a damaged pickle raises anything, MemoryError and RecursionError included
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: expected a pickle {source}, it does not load ({cause})") from error


class _Refused(pickle.UnpicklingError):
    """What a pickle must not ask for."""


class _DType:
    """A dtype on its way; an opcode calls `__setstate__` with (version, byte order, subarray, names, fields, …)."""

    def __init__(self, kind: str) -> None:
        self.dtype = np.dtype(kind)

    def __setstate__(self, state: tuple) -> None:
        if any(part is not None for part in state[2:5]):
            raise _Refused("a structured numpy.dtype")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array whose content still comes, by an opcode that calls `__setstate__`."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _DType):
            raise _Refused("an array without numpy.dtype")
        content, size = (list, 1) if kind.dtype.hasobject else (bytes, kind.dtype.itemsize)
        if not isinstance(data, content) or any(n < 0 for n in shape) or len(data) != math.prod(shape) * size:
            raise _Refused(f"an array of shape {shape} from other content")
        super().__setstate__((1, shape, kind.dtype, bool(fortran), data))  # type: ignore[arg-type]


class _Unpickler(pickle.Unpickler):
    """Finds bound methods only, and classes that opcodes cannot change: neither keeps what a pickle sets on it."""

    def find_class(self, module: str, name: str) -> Any:
        """Stand-in for a global, by the names that old and new numpy and Python 2 and 3 give it."""
        module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        allowed = {
            "numpy.ndarray": "numpy.ndarray",  # only ever an argument of _reconstruct
            "numpy.dtype": self._dtype,
            "numpy.core.multiarray._reconstruct": self._array,
            "numpy.core.multiarray.scalar": self._scalar,
            "_codecs.encode": self._encode,
            **{f"builtins.{kind.__name__}": kind for kind in (bytearray, complex, frozenset, set)},
        }
        if f"{module}.{name}" not in allowed:
            raise _Refused(f"{module}.{name}")
        return allowed[f"{module}.{name}"]

    def _dtype(self, kind: str, align: bool = False, copy: bool = False) -> _DType:
        if not isinstance(kind, str) or not PLAIN_KIND.fullmatch(kind):
            raise _Refused(f"numpy.dtype of {str(kind)[:40]!r}")
        return _DType(kind)

    def _array(self, *_: object) -> _Array:
        return _Array((0,), np.int8)

    def _scalar(self, kind: _DType, data: bytes) -> Any:
        return np.frombuffer(data, kind.dtype)[0]  # refuses objects and lengths that do not fit

    def _encode(self, text: str, encoding: str) -> bytes:
        """Bytes in pickles before protocol 3; the real function would look up any codec."""
        if encoding != "latin1":
            raise _Refused(f"_codecs.encode to {encoding[:40]}")
        return text.encode("latin1")
