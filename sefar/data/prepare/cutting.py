"""Clips out of one source, in one pass where they lie close together."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sefar import files
from sefar.data.prepare.encoding import ClipEncoder, clip_picture
from sefar.data.prepare.reading import SEEK_BACK_SECONDS, SourceFrame, read_from, read_numbered
from sefar.data.synthgym.video import cannot_write
from sefar.errors import DecodeError

_SEEK_GAP_SECONDS = 10.0
"""Decoding on beats a seek across gaps shorter than this."""

_END_SLACK = 1.0
"""The last frame of a source may lie so much, in seconds or frames, before a clip's end, though no more than half the
clip: annotations round."""

_LAST_SECONDS = 0.1
"""A source's last frame may be shown so long."""


@dataclass(frozen=True)
class Cut:
    """A clip wanted.

    Attributes:
        clip_id: its name in the clip table.
        target: the file to write.
        start, end: the clip holds the frames shown at start ≤ time < end, in seconds from the start of the source; or,
            of a numbered source, frames start ≤ number < end.
    """

    clip_id: str
    target: Path
    start: float = 0.0
    end: float = math.inf


@dataclass(frozen=True)
class Outcome:
    """What became of a cut: the number of frames written, or 0 and the cause."""

    clip_id: str
    frames: int
    cause: str = ""


def cut_clips(
    source: Path, cuts: Sequence[Cut], *, numbered: bool = False, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Outcome]:
    """Cut clips out of a source, re-encoded; each is written whole or not at all.

    Where the source is seen to be damaged, only the clips that need the damaged stretch fail. Damage that decodes
    without any fault, to other pictures, stays unseen.

    Args:
        source: a video, or a folder of pictures (numbered).
        cuts: what to cut.
        numbered: starts and ends are frame numbers instead of seconds.
        stopped: asked between frames; once true, nothing more is yielded.

    Yields:
        What became of each, in the order in which they end.

    Raises:
        DataError: a clip cannot be written, for instance because the disk is full.
    """
    import av

    near, far = SEEK_BACK_SECONDS
    runs = deque((run, near) for run in ([list(cuts)] if numbered else _runs(cuts)))
    while runs and not stopped():
        run, back = runs.popleft()
        left = {cut.clip_id: cut for cut in run}
        try:
            frames = read_numbered(source) if numbered else read_from(source, run[0].start, back_seconds=back)
            for outcome in _cut_run(source, frames, run, 1.0 if numbered else _LAST_SECONDS, stopped):
                del left[outcome.clip_id]
                yield outcome
        except (av.FFmpegError, DecodeError, ValueError) as error:  # ValueError: PyAV, for instance of pixel formats
            rest = list(left.values())
            if back == near and not numbered:
                runs.appendleft((rest, far))
            elif len(rest) > 1:
                runs.extendleft(([cut], far) for cut in reversed(rest))
            else:
                cause = error.strerror if isinstance(error, av.FFmpegError) else str(error)
                yield Outcome(rest[0].clip_id, 0, f"{source.name}: {cause}")


def _runs(cuts: Sequence[Cut]) -> Iterator[list[Cut]]:
    """Cuts in order of time, those together that lie close together."""
    run: list[Cut] = []
    end = -math.inf
    for cut in sorted(cuts, key=lambda c: (c.start, c.end, c.clip_id)):
        if run and cut.start > end + _SEEK_GAP_SECONDS:
            yield run
            run = []
        run.append(cut)
        end = max(end, cut.end)
    if run:
        yield run


def _cut_run(
    source: Path, frames: Generator[SourceFrame], cuts: list[Cut], last: float, stopped: Callable[[], bool]
) -> Iterator[Outcome]:
    """Cut in one pass; `last`: how long the source's last frame may be shown."""
    waiting, active = deque(cuts), list[tuple[Cut, ClipEncoder]]()
    reached = 0.0
    with closing(frames):
        for frame in frames:
            if stopped():
                return
            while waiting and waiting[0].start <= frame.position:
                cut = waiting.popleft()
                active.append((cut, ClipEncoder(cut.target)))
            for cut, encoder in active:
                if cut.end <= frame.position:
                    yield _finish(cut, encoder)
            active = [(cut, encoder) for cut, encoder in active if cut.end > frame.position]
            if active:
                picture = clip_picture(frame.picture)
                for _, encoder in active:
                    encoder.add(picture, frame)
            elif not waiting:
                return
            reached = frame.position
    for cut, encoder in active + [(cut, ClipEncoder(cut.target)) for cut in waiting]:
        slack = min(_END_SLACK, max(last, (cut.end - cut.start) / 2))
        if math.isinf(cut.end) or cut.end <= reached + slack:
            yield _finish(cut, encoder)
        else:
            yield Outcome(cut.clip_id, 0, f"{source.name} ends at {_short(reached)}, the clip at {_short(cut.end)}")


def _finish(cut: Cut, encoder: ClipEncoder) -> Outcome:
    if not encoder.frames:
        return Outcome(cut.clip_id, 0, f"no frame from {_short(cut.start)} to {_short(cut.end)}")
    content = encoder.finish()
    try:
        cut.target.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(cut.target, content)
    except OSError as error:
        raise cannot_write(cut.target, error) from error
    return Outcome(cut.clip_id, encoder.frames)


def _short(position: float) -> str:
    return f"{round(position, 2):.10g}"
