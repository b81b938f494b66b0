from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sefar.config import TrainConfig
from sefar.data.scopes import load_scope
from sefar.data.synthgym import SynthGymConfig
from sefar.errors import DataError
from sefar.gallery import BORDER_PIXELS, CAPTION_PIXELS, CONTEXT_COLOUR, FINE_COLOURS, class_strips, save_picture
from sefar.recipes import recipe


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def test_a_strip_a_class_with_borders_of_its_granularities(tmp_path: Path) -> None:
    data = SynthGymConfig(
        size=64, train_clips_per_element=6, test_clips_per_element=1, train_performers=3, test_performers=2
    )
    values = recipe("synthgym_tiny", {"scope.root": str(tmp_path), "scope.name": "synthgym/set:BB_jumps@1pc"}).to_dict()
    values["scope"]["synthgym"] = vars(data)
    config = TrainConfig.from_dict(values)
    picture = class_strips(config, load_scope(config.scope, progress=False), scale=1)
    side = config.views.size + 2 * BORDER_PIXELS
    assert picture.size == (8 * side, 4 * (side + CAPTION_PIXELS))
    borders = [picture.getpixel((t * side, CAPTION_PIXELS + 10)) for t in range(8)]
    # slots of (2, 2, 4): context at 0, 2, 4, 6, the first fine element at 3 and 7, the second at 1 and 5
    first, second, context = rgb(FINE_COLOURS[0]), rgb(FINE_COLOURS[1]), rgb(CONTEXT_COLOUR)
    assert borders == [context, second, context, first, context, second, context, first]
    inside = np.asarray(picture)[CAPTION_PIXELS + BORDER_PIXELS : CAPTION_PIXELS + side - BORDER_PIXELS]
    assert inside[:, BORDER_PIXELS : side - BORDER_PIXELS].std() > 5
    save_picture(picture, tmp_path / "new" / "strips.png")
    assert Image.open(tmp_path / "new" / "strips.png").size == picture.size


def test_unwritable_picture(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        save_picture(Image.new("RGB", (4, 4)), tmp_path / "file" / "x.png")
