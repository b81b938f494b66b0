"""FineDiving's annotation pickles → dives.

Both annotation files are dicts keyed by (video id, clip number). The coarse one holds ``action_type``, ``start_frame``
and ``end_frame`` of the source video, and scores; the fine one lists action type, score, difficulty, the frames where
steps begin, and the step of every frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sefar.data.annotations.safe_pickle import read_pickle
from sefar.data.findings import Findings
from sefar.errors import DataError

COARSE = "FineDiving_coarse_annotation.pkl"
FINE = "FineDiving_fine-grained_annotation.pkl"
STEP_NAMES = "Sub_action_Types_Table.pkl"
SOURCE = "from FineDiving's Annotations folder"
VIDEO_ID = re.compile(r"\w[\w. -]*")
HEIGHT = re.compile(r"(?<!\d)(\d+)m(?![a-z])")  # FINADivingWorldCup2021_Men3m_final_r1, …Synchronised10mPlatform…

Key = tuple[str, int]


@dataclass(frozen=True)
class Dive:
    """One dive.

    Attributes:
        video_id: of the source video.
        number: the clip's number in that video.
        action_type: dive code in capitals, such as ``5253B``.
        start_frame: first frame in the source video.
        end_frame: last frame in the source video, as annotated.
        steps: sub-action numbers in the order they are performed.
    """

    video_id: str
    number: int
    action_type: str
    start_frame: int
    end_frame: int
    steps: tuple[int, ...]

    @property
    def clip_id(self) -> str:
        """``<video id>_<number>``."""
        return f"{self.video_id}_{self.number}"

    @property
    def height(self) -> str:
        """``10m``, ``3m`` or ``1m`` where the video's name tells, else empty."""
        match = HEIGHT.search(self.video_id)
        return match[0] if match else ""


def read_dives(annotations: Path, findings: Findings) -> dict[Key, Dive]:
    """Read the coarse and the fine annotation.

    Raises:
        DataError: a file is missing, is no such pickle, or asks to run code.
    """
    coarse, fine = (_read_dict(annotations / name) for name in (COARSE, FINE))
    dives = {}
    for raw_key, entry in fine.items():
        where = f"{FINE}: {_shown(raw_key)}"
        dive = _dive(parse_key(raw_key), entry, coarse.get(raw_key))
        if dive is None:
            message = f"expected [action type, score, difficulty, transitions, steps], got {_shown(entry)}"
            findings.add("malformed row", where, f"{message}, coarse {_shown(coarse.get(raw_key))}", fatal=True)
            continue
        dives[dive.video_id, dive.number] = dive
        if str(coarse[raw_key]["action_type"]).upper() != dive.action_type:
            message = (
                f"expected {dive.action_type} as in {FINE}, got {coarse[raw_key]['action_type']}; the former counts"
            )
            findings.add("conflicting label", f"{COARSE}: {raw_key}", message)
    return dives


def read_keys(path: Path, findings: Findings) -> list[Key]:
    """Keys of a split file, in its order.

    Raises:
        DataError: missing, no list, or it asks to run code.
    """
    keys = read_pickle(path, SOURCE)
    if not isinstance(keys, list | tuple | np.ndarray):
        raise DataError(f"{path}: expected a list of (video id, clip number), got a {type(keys).__name__}")
    parsed = []
    for number, raw in enumerate(keys):
        key = parse_key(raw)
        if key is None:
            message = f"expected (video id, clip number), got {_shown(raw)}"
            findings.add("malformed row", f"{path.name}: entry {number}", message, fatal=True)
        else:
            parsed.append(key)
    return parsed


def read_step_names(annotations: Path, findings: Findings) -> dict[int, str]:
    """Names of sub-actions by number, if the folder holds their table; else none.

    Raises:
        DataError: the table is no such pickle, or asks to run code.
    """
    path = annotations / STEP_NAMES
    names = _read_dict(path) if path.is_file() else {}
    if not all(isinstance(number, int | np.integer) for number in names):
        findings.add("malformed row", STEP_NAMES, "expected {number: name}; steps go by their numbers")
        return {}
    return {int(number): _text(name) for number, name in names.items()}


def parse_key(raw: object) -> Key | None:
    """(video id, clip number), or None: ids become file names, so they hold no separators."""
    if not isinstance(raw, tuple | list) or len(raw) != 2:
        return None
    video_id, number = map(_text, raw)
    return (video_id, int(number)) if VIDEO_ID.fullmatch(video_id) and re.fullmatch(r"[0-9]{1,9}", number) else None


def _dive(key: Key | None, fine: object, coarse: object) -> Dive | None:
    if key is None:
        return None
    try:
        action_type, per_frame = str(fine[0]), np.asarray(fine[4], dtype=np.int64)  # type: ignore[index]
        start, end = int(coarse["start_frame"]), int(coarse["end_frame"])  # type: ignore[index]
        str(coarse["action_type"])  # type: ignore[index]
    except (TypeError, KeyError, IndexError, ValueError, OverflowError, RecursionError):
        return None
    if not re.fullmatch(r"\w+", action_type) or per_frame.ndim != 1 or not per_frame.size or not 0 <= start < end:
        return None
    changes = np.flatnonzero(np.diff(per_frame, prepend=per_frame[:1] - 1))
    return Dive(*key, action_type.upper(), start, end, tuple(per_frame[changes].tolist()))


def _text(value: object) -> str:
    """A value of a pickle in words; numbers of thousands of digits and lists nested thousands deep have none."""
    try:
        return str(value)
    except (ValueError, RecursionError):
        return f"<{type(value).__name__}>"  # no id of a video either


def _shown(value: object) -> str:
    return _text(value)[:80]


def _read_dict(path: Path) -> dict:
    content = read_pickle(path, SOURCE)
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a dict {SOURCE}, got a {type(content).__name__}")
    return content
