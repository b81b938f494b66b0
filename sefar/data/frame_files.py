"""Files of the frame store, one a clip, mapped into memory: raw pictures or JPEG.

A raw file is a NumPy array. A JPEG file is an index (`JPEG_MAGIC`, the number T of frames, T + 1 byte offsets, all as
little-endian 64-bit integers) and the frames one after the other, each decoded when it is asked for.

Shape suffixes: T frames, H, W pixels, C channels, N frames asked for.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from sefar.data.decode import clip_frames, decode_frames
from sefar.errors import DataError

JPEG_QUALITY = 95
JPEG_MAGIC = int.from_bytes(b"SEFARJPG", "little")
SUFFIX = {"raw": ".npy", "jpeg": ".jpgs"}


class Frames(Protocol):
    """A clip's frames: their number, and those of given numbers (N,) as uint8 (N, H, W, C)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index_N: Any, /) -> np.ndarray: ...


def pack(frames_THWC: np.ndarray, encoding: str) -> list[bytes | memoryview]:
    """The parts, one after the other, of the file that holds a clip's uint8 frames."""
    frames_THWC = np.ascontiguousarray(frames_THWC)
    if encoding == "raw":
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(frames_THWC))
        return [header.getvalue(), frames_THWC.reshape(-1).data]
    pictures = [_to_jpeg(frame_HWC) for frame_HWC in frames_THWC]
    offsets = np.cumsum([8 * (len(pictures) + 3), *map(len, pictures)])
    return [np.array([JPEG_MAGIC, len(pictures), *offsets], "<u8").tobytes(), *pictures]


def open_frames(file: Path, encoding: str) -> Frames:
    """Map a clip's file.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is torn, or no such file.
    """
    if encoding == "jpeg":
        return JpegFrames(file)
    frames = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(frames, np.memmap) or frames.dtype != np.uint8 or frames.ndim != 4:
        raise ValueError(f"expected uint8 frames (T, H, W, C), got {type(frames).__name__} of another kind")
    return frames


class JpegFrames:
    """Frames of a JPEG file, decoded when asked for.

    Raises:
        OSError, ValueError: as `open_frames`.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._bytes = file, np.memmap(file, np.uint8, mode="r")
        words = np.frombuffer(self._bytes, "<u8", count=min(2, len(self._bytes) // 8))
        if len(words) < 2 or words[0] != JPEG_MAGIC or 8 * (int(words[1]) + 3) > len(self._bytes):
            raise ValueError("expected an index of JPEG frames")
        self._offsets = np.frombuffer(self._bytes, "<u8", count=int(words[1]) + 1, offset=16).astype(np.int64)
        if self._offsets[-1] != len(self._bytes):
            raise ValueError(f"expected {self._offsets[-1]} bytes, got {len(self._bytes)}")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index_N: np.ndarray) -> np.ndarray:
        """Decode frames.

        Raises:
            DataError: one is damaged.
        """
        return np.stack([self._frame(int(number)) for number in index_N])

    def _frame(self, number: int) -> np.ndarray:
        start, end = self._offsets[number : number + 2]
        try:
            return np.asarray(Image.open(io.BytesIO(self._bytes[start:end].tobytes())))
        except (OSError, SyntaxError) as error:  # Pillow raises both
            raise DataError(
                f"frame store: {self._file}: frame {number} is damaged ({error}); delete the file"
            ) from error


class DecodedFrames:
    """Frames of a clip that is not stored; only those asked for are decoded, each time.

    Raises:
        DecodeError: the clip does not decode.
    """

    def __init__(self, path: str, start_frame: int, end_frame: int, *, max_short_side: int) -> None:
        self._path, self._window = path, {"start_frame": start_frame, "end_frame": end_frame}
        self._max_short_side = max_short_side
        self._length = clip_frames(path, **self._window)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index_N: np.ndarray) -> np.ndarray:
        """Decode frames in one read."""
        return decode_frames(self._path, index_N.tolist(), **self._window, max_short_side=self._max_short_side)


def _to_jpeg(frame_HWC: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(frame_HWC).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
