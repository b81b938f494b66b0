"""Pickles that run code are refused before they do; honest ones of any protocol load."""

from __future__ import annotations

import builtins
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sefar.data.annotations.safe_pickle import read_pickle
from sefar.errors import DataError


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def write(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_arrays_and_plain_values_of_any_protocol_load(tmp_path: Path, protocol: int) -> None:
    content = {
        ("01", 1): ["407c", np.float64(88.0), 3.2, np.array([2, 34]), np.array([4, 4, 25])],
        "more": [{1, 2}, frozenset({"a"}), b"\xff\x00", None, True, np.array(["a", None], dtype=object), 2 + 1j],
    }
    read = read_pickle(write(tmp_path / "a.pkl", content, protocol), "from here")
    assert read[("01", 1)][:3] == ["407c", 88.0, 3.2]
    assert read[("01", 1)][4].tolist() == [4, 4, 25]
    assert read["more"][:5] == [{1, 2}, frozenset({"a"}), b"\xff\x00", None, True]
    assert read["more"][5].tolist() == ["a", None]


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch {}",), "posix.system"),
        (subprocess.Popen, (("touch", "{}"),), "subprocess.Popen"),
        (builtins.eval, ("open('{}', 'w')",), "builtins.eval"),
        (builtins.getattr, ("a", "join"), "builtins.getattr"),
        (builtins.open, ("{}", "w"), "io.open"),
        (np.load, ("{}",), "numpy.load"),
        (Path, ("{}",), "pathlib.Path"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_and_nothing_runs(
    tmp_path: Path, function: Callable[..., object], arguments: tuple[Any, ...], named: str, protocol: int
) -> None:
    mark = tmp_path / "ran"
    filled = tuple(a.format(mark) if isinstance(a, str) else tuple(x.format(mark) for x in a) for a in arguments)
    path = write(tmp_path / "a.pkl", {("01", 1): [Calls(function, *filled)]}, protocol)
    with pytest.raises(DataError, match=rf"a\.pkl: asks for .*{named.split('.')[-1]}, which could run code"):
        read_pickle(path, "from here")
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cposix\nsystem\n(S'touch ran'\ntR.",  # GLOBAL and REDUCE by hand
        b"(S'touch ran'\nios\nsystem\n.",  # INST
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x09touch ran\x85R.",  # STACK_GLOBAL
        b"\x80\x04\x8c\x15numpy.core.multiarray\x8c\x15_reconstruct.__self__\x93.",  # attributes of what is allowed
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    ],
)
def test_hand_made_opcodes_are_refused(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(DataError, match="which could run code; expected numpy arrays and plain values"):
        read_pickle(tmp_path / "a.pkl", "from here")
    assert not (tmp_path / "ran").exists()


class DType:
    """Pickles as a dtype with a state of one's own."""

    def __init__(self, kind: str, *state: object) -> None:
        self.call = (np.dtype, (kind, False, True), state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


FIELDS = DType("V8", 3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)
SUBARRAY = DType("i8", 3, "|", (np.dtype("O"), (1,)), None, None, 8, 1, 0)
OBJECTS = DType("O8", 3, "|", None, None, None, -1, -1, 63)
reconstruct, scalar = np.empty(1).__reduce__()[0], np.float64(0).__reduce__()[0]


class Array:
    """Pickles as an array with a state of one's own."""

    def __init__(self, *state: object) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return reconstruct, (np.ndarray, (0,), b"b"), self.state


@pytest.mark.parametrize(
    "content",
    [
        Calls(np.ndarray, (1,), "O", b"A" * 8),
        Calls(scalar, FIELDS, b"A" * 8),
        Calls(scalar, OBJECTS, b"A" * 8),
        Array(1, (1,), FIELDS, False, b"A" * 8),
        Array(1, (1,), SUBARRAY, False, b"A" * 8),
        Array(1, (1,), OBJECTS, False, b"A" * 8),
        Array(1, (1,), "O", False, b"A" * 8),
        Array(1, (2,), OBJECTS, False, [None]),
        Array(1, (10**9, 10**9), np.dtype("u1"), False, b"A"),
        Array(1, (-1, -8), np.dtype("u1"), False, b"A" * 8),
    ],
)
def test_arrays_over_foreign_memory_are_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(DataError, match=r"a\.pkl: (asks for|expected a pickle)"):
        read_pickle(write(tmp_path / "a.pkl", content), "from here")


GOOD = pickle.dumps({("01", n): ["407c", 1.0, 2.0, np.arange(3), np.arange(20)] for n in range(3)})


@given(st.data())
def test_damaged_pickles_load_or_are_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    damaged = bytearray(GOOD[: data.draw(st.integers(0, len(GOOD)))])
    for place in data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=4)):
        if damaged:
            damaged[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("pickles") / "a.pkl"
    path.write_bytes(damaged)
    try:
        read_pickle(path, "from here")
    except DataError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)


def test_a_missing_pickle_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.pkl: no such file; expected a pickle from the Annotations folder"):
        read_pickle(tmp_path / "none.pkl", "from the Annotations folder")
