"""Pickles from elsewhere: numpy arrays and plain Python values, nothing that runs code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from sefar.errors import DataError


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
        raise DataError(
            f"{path}: expected a pickle {source}, it does not load ({error or type(error).__name__})"
        ) from error


class _Refused(pickle.UnpicklingError):
    """A global that is not on the list."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The few callables that arrays and sets need, by the names old and new numpy give them."""
        module = module.replace("numpy._core", "numpy.core")
        if (module, name) not in ALLOWED:
            raise _Refused(f"{module}.{name}")
        return ALLOWED[module, name]


def _encode(text: str, encoding: str) -> bytes:
    """Bytes in pickles of protocol 2; the real `_codecs.encode` would look up any codec."""
    if encoding != "latin1":
        raise _Refused(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(1).__reduce__()[0],
    ("numpy.core.multiarray", "scalar"): np.float64(0).__reduce__()[0],
    ("_codecs", "encode"): _encode,
    **{("builtins", kind.__name__): kind for kind in (bytearray, complex, frozenset, set)},
    **{("__builtin__", kind.__name__): kind for kind in (bytearray, complex, frozenset, set)},
}
