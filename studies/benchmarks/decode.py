"""Reading the frames of a view: the release's way, one batched scaled read, and the warm frame store."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from sefar.data.decode import decode_clip, decode_frames
from sefar.data.framestore import FrameStore
from studies.benchmarks.clips import KEY_FRAMES, make_clips, release_read
from studies.benchmarks.cold_store import cold_case
from studies.benchmarks.findings import Case, Figure, Findings, Options
from studies.benchmarks.reading import CORE, SHORT_SIDE, Read, timed
from studies.benchmarks.turns import one_core, threads

RELEASE, BATCHED = "release: two passes of single-frame seeks, enlarged to 480", "one batched read"
DECODING, RAW, JPEG = "decoding the 8 frames", "warm store, raw", "warm store, JPEG"


def run(options: Options) -> Findings:
    """Time all readers."""
    clips, repeats = options.repeats(10, 3), options.repeats(7, 2)
    with threads(1):  # a loader's worker has one
        read = decode_cases(options.folder / "decode", clips, repeats)
        kept, paths = store_case(options.folder / "kept", clips, repeats)
    cases = [*read, kept, cold_case(options.folder, paths)]
    # the placing of key frames that helps least
    return Findings(
        "decode",
        cases,
        [
            Figure(name="decode_speedup", value=min(case.ratio(BATCHED) for case in read), least=5),
            Figure(name="framestore_speedup", value=kept.ratio(RAW), least=10),
            Figure(name="framestore_jpeg_speedup", value=kept.ratio(JPEG), least=10),
        ],
    )


def per_second(seconds: dict[str, list[float]]) -> dict[str, str]:
    """Clips/s of a core, from the median."""
    return {way: f"{1 / float(np.median(values)):.3g}" for way, values in seconds.items()}


def decode_cases(folder: Path, clips: int, repeats: int) -> list[Case]:
    """One batched read of a view against the release's way, for each way to place key frames."""
    cases: list[Case] = []
    for name, encoding in KEY_FRAMES.items():
        paths = make_clips(folder / str(len(cases)), clips, encoding)
        ways: dict[str, Read] = {
            RELEASE: lambda p, n: release_read(p, n.tolist()),
            BATCHED: lambda p, n: decode_frames(p, n.tolist(), max_short_side=SHORT_SIDE),
        }
        with one_core():
            seconds = timed(ways, paths, repeats)
        size = float(np.mean([os.path.getsize(path) for path in paths]))
        rate = np.mean([8 * os.path.getsize(path) / 1000 / (len(decode_clip(path)) / 25) for path in paths])
        note = f"A clip is a file of {size / 1e6:.2f} MB, {rate:.0f} kbit/s."
        columns = {"clips/s": per_second(seconds)}
        cases.append(
            Case(f"The 8 frames of a view, key frames {name}", seconds, CORE, RELEASE, {BATCHED: 5}, (note,), columns)
        )
    return cases


def store_case(folder: Path, clips: int, repeats: int) -> tuple[Case, list[str]]:
    """A view out of the warm frame store against decoding it; and the clips' paths."""
    paths = make_clips(folder / "clips", clips, KEY_FRAMES["every 8"])
    stores = {e: FrameStore(folder / f"frames-{e}", max_short_side=SHORT_SIDE, encoding=e) for e in ("raw", "jpeg")}

    def reader(store: FrameStore) -> Read:
        for path in paths:
            store.frames(path, 0, -1)

        def read(path: str, numbers: np.ndarray) -> object:
            store.close()  # as in a scope of more clips than stay mapped
            return store.frames(path, 0, -1)[numbers]

        return read

    ways: dict[str, Read] = {
        DECODING: lambda path, n: decode_frames(path, n.tolist(), max_short_side=SHORT_SIDE),
        "decoding the whole clip": lambda path, n: decode_clip(path, max_short_side=SHORT_SIDE)[n],
        RAW: reader(stores["raw"]),
        JPEG: reader(stores["jpeg"]),
    }
    with one_core():
        seconds = timed(ways, paths, repeats)
    sizes = {e: sum(f.stat().st_size for f in s.root.glob("??/*")) / 1e6 / clips for e, s in stores.items()}
    video = sum(os.path.getsize(path) for path in paths) / 1e6 / clips
    megabytes = {DECODING: video, "decoding the whole clip": video, RAW: sizes["raw"], JPEG: sizes["jpeg"]}
    case = Case(
        "The 8 frames of a view out of the frame store, key frames every 8",
        seconds,
        CORE,
        DECODING,
        {RAW: 10, JPEG: 10},
        columns={"clips/s": per_second(seconds), "MB a clip": {way: f"{mb:.1f}" for way, mb in megabytes.items()}},
    )
    return case, paths
