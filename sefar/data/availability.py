"""Which clips of a scope can be had: those whose file is there and which no check has found broken."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sefar.data.listing import Listing
from sefar.data.quarantine import Quarantine
from sefar.errors import ScopeError

ABSENT = "absent"
MISSING_COLUMNS = ("part", "clip_id", "path", "cause")
NAMED = 3  # missing clips that an error names


def leave_out_missing(
    parts: Mapping[str, pd.DataFrame], quarantine: Quarantine
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Part what can be had from what cannot.

    Each folder of clips is listed once, rather than the disk asked for each clip.

    Returns:
        The parts without their missing clips, and a row of `MISSING_COLUMNS` for each of these: ``cause`` is
        ``absent`` or ``quarantined: …``.
    """
    listing = Listing()
    kept, missing = {}, [pd.DataFrame(columns=list(MISSING_COLUMNS))]
    for part, clips in parts.items():
        windows = zip(clips.path, clips.start_frame, clips.end_frame, strict=True)
        cause = pd.Series([_cause(w, listing, quarantine) for w in windows], clips.index, dtype=object)
        gone = cause.notna().to_numpy(dtype=bool)
        kept[part] = clips[~gone].reset_index(drop=True)
        if gone.any():
            missing.append(clips[gone].assign(part=part, cause=cause[gone])[list(MISSING_COLUMNS)])
    return kept, pd.concat(missing, ignore_index=True)


def _cause(window: tuple[str, int, int], listing: Listing, quarantine: Quarantine) -> str | None:
    path, start, end = window
    if not listing.is_file(path):
        return ABSENT
    broken = quarantine.cause(path, int(start), int(end))
    return f"quarantined: {broken}" if broken is not None else None


def missing_counts(missing: pd.DataFrame, parts: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """Missing clips of each part."""
    return {part: int(np.sum(missing.part == part)) for part in parts}


def refuse_missing(scope: str, missing: pd.DataFrame, parts: Mapping[str, pd.DataFrame]) -> None:
    """Refuse to go on without clips.

    Raises:
        ScopeError: there are missing ones; says how many of each part, names a few, and how to mend it.
    """
    if missing.empty:
        return
    counts = missing_counts(missing, parts)
    told = ", ".join(f"{counts[part]} of {len(clips)} {part}" for part, clips in parts.items() if counts[part])
    absent = int((missing.cause == ABSENT).sum())
    first = "; ".join(f"{c.clip_id} ({c.cause}, {c.path})" for c in missing.head(NAMED).itertuples())
    mends = ["bring them to disk (`sefar prepare …`, scope.root, scope.clips)"] if absent else []
    if absent < len(missing):
        mends.append("mend the broken ones and look again (`sefar prepare check …`)")
    raise ScopeError(
        f"{scope}: {absent} clips are absent and {len(missing) - absent} quarantined ({told}), first {first}; "
        f"{', '.join(mends)}, or train without them: --allow-missing (scope.allow_missing=true)"
    )
