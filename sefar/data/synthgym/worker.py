"""A rendering process of `prepare`: reads a job from standard input, prints one line per finished clip.

Started as `python -m sefar.data.synthgym.worker`; not meant to be called by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sefar.data.synthgym.table import SynthGymConfig
from sefar.data.synthgym.video import render_clip
from sefar.errors import SefarError


def main() -> int:
    """Renders the clips of a job; returns the exit status."""
    job = json.load(sys.stdin)
    config = SynthGymConfig(**job["config"])
    try:
        for clip_id, path in job["clips"]:
            render_clip(Path(job["folder"]), config, clip_id, path)
            sys.stdout.write(f"{clip_id}\n")
            sys.stdout.flush()
    except SefarError as error:
        sys.stderr.write(f"DataError: {error}\n")
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
