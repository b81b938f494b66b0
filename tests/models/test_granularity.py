from __future__ import annotations

import pytest
import torch

from sefar.models.granularity import normalise


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_normalise_by_hand_and_without_touching_its_input(dtype: torch.dtype) -> None:
    frames = torch.tensor([0, 51, 255]).to(dtype)
    before = frames.clone()
    out = normalise(frames)
    torch.testing.assert_close(out, torch.tensor([-0.45 / 0.225, (0.2 - 0.45) / 0.225, 0.55 / 0.225]))
    assert out.dtype == torch.float32
    assert torch.equal(frames, before)
