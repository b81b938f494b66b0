"""FineGym's element ids and the timestamps of its elements.

An id is ``<video>_E_<event start>_<event end>_A_<start>_<end>``: the 11 characters of the source video's YouTube id
(which may hold ``_`` and ``-``), the event in seconds of the source video, the element in seconds of the event, all
rounded to whole seconds. The timestamps file has the exact seconds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sefar.data.findings import Findings
from sefar.errors import DataError

ID = re.compile(
    r"(?P<video>[A-Za-z0-9_-]{11})_E_(?P<event>[0-9]{6}_[0-9]{6})_A_(?P<element>[0-9]{4}_[0-9]{4})", re.ASCII
)


@dataclass(frozen=True)
class Element:
    """A parsed element id.

    Attributes:
        video_id: YouTube id of the source video.
        event_seconds: (start, end) of the event in the source video.
        element_seconds: (start, end) of the element in the event.
    """

    video_id: str
    event_seconds: tuple[int, int]
    element_seconds: tuple[int, int]


def parse_element(element_id: str) -> Element | None:
    """Parse an element id; None if it is none."""
    match = ID.fullmatch(element_id)
    if match is None:
        return None
    event_start, event_end = map(int, match["event"].split("_"))
    start, end = map(int, match["element"].split("_"))
    return Element(match["video"], (event_start, event_end), (start, end))


def read_timestamps(path: Path) -> tuple[dict[str, tuple[float, float]], Findings]:
    """Read the timestamps file (``finegym_annotation_info_v1.1.json``).

    Vault elements have three stages: they last from the first one's start to the last one's end.

    Returns:
        Seconds [start, end) in the source video of each element id, and the entries that make no sense.

    Raises:
        DataError: missing, or no JSON object.
    """
    videos = _load(path)
    findings = Findings()
    seconds = {}
    for event_id, event in _entries(videos, findings, path):
        start = _span(event)
        elements = event.get("segments")
        if start is None or not isinstance(elements, dict | None):
            findings.add("malformed timestamps", f"{path.name}: {event_id}", "expected timestamps [[start, end]]")
            continue
        for name, element in (elements or {}).items():
            span = _span(element)
            if span is None or ID.fullmatch(f"{event_id}_{name}") is None:
                message = f"expected stages [[start, end], …] in seconds, got {str(element)[:80]}"
                findings.add("malformed timestamps", f"{path.name}: {event_id}_{name}", message)
            else:
                seconds[f"{event_id}_{name}"] = (start[0] + span[0], start[0] + span[1])
    return seconds, findings


def read_event_starts(path: Path) -> dict[str, float]:
    """Second of the source video at which each event (``<video>_E_<start>_<end>``) of the timestamps file starts.

    Raises:
        DataError: missing, or no JSON object.
    """
    spans = {event_id: _span(event) for event_id, event in _entries(_load(path), Findings(), path)}
    return {event_id: span[0] for event_id, span in spans.items() if span}


def _load(path: Path) -> dict[str, object]:
    try:
        videos = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected the timestamps JSON of the FineGym project page") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected FineGym's timestamps JSON, got none ({error})") from error
    if not isinstance(videos, dict):
        raise DataError(f"{path}: expected an object {{video id: events}}, got a {type(videos).__name__}")
    return videos


def _entries(videos: dict[str, object], findings: Findings, path: Path) -> Iterator[tuple[str, dict]]:
    """(video_event, entry) of each event."""
    for video, events in videos.items():
        for name, event in events.items() if isinstance(events, dict) else [("", events)]:
            if isinstance(event, dict):
                yield f"{video}_{name}", event
            else:
                message = f"expected an object of events, got {str(event)[:80]}"
                findings.add("malformed timestamps", f"{path.name}: {video}", message)


def _span(entry: object) -> tuple[float, float] | None:
    """First stage's start and last stage's end, or None where they are no times in order."""
    try:
        stages = entry["timestamps"]  # type: ignore[index]
        start, end = float(stages[0][0]), float(stages[-1][1])
    except (TypeError, KeyError, IndexError, ValueError, OverflowError):
        return None
    return (start, end) if math.isfinite(start) and math.isfinite(end) and 0 <= start < end else None
