from __future__ import annotations

import torch

from sefar.ssl.mixing import Mix, MixingConfig, draw_mix, mix_targets, mix_tokens


def test_draw_counts_patches_and_shares_one_partner() -> None:
    for seed in range(20):
        mix = draw_mix(MixingConfig(), 5, 3, 16, torch.Generator().manual_seed(seed))
        assert 0 < mix.ratio < 1
        assert mix.tube_mask_GN.sum(1).tolist() == [int(mix.ratio * 16)] * 3
        assert torch.equal(mix.partner_GB[0], mix.partner_GB[2])
        assert sorted(mix.partner_GB[0].tolist()) == list(range(5))
    released = draw_mix(MixingConfig(partner="per_granularity"), 50, 3, 16, torch.Generator().manual_seed(0))
    assert not torch.equal(released.partner_GB[0], released.partner_GB[2])


def test_ratio_follows_beta_10_10() -> None:
    generator = torch.Generator().manual_seed(0)
    ratios = torch.tensor([draw_mix(MixingConfig(), 2, 1, 4, generator).ratio for _ in range(2000)])
    assert abs(ratios.mean() - 0.5) < 0.01
    assert abs(ratios.var() - 1 / (4 * 21)) < 0.001  # variance of Beta(b, b) is 1 / (4 (2b + 1))


def test_same_patches_in_every_frame_from_the_stated_clip() -> None:
    own = torch.arange(2)[:, None, None, None].expand(2, 3, 4, 1).float()
    other = own + 10
    mask = torch.tensor([[True, False, True, False]])
    mixed = mix_tokens(own, other, Mix(0.5, mask, torch.tensor([[1, 0]])), 0)
    assert mixed[0, :, :, 0].tolist() == [[0, 11, 0, 11]] * 3
    assert mixed[1, :, :, 0].tolist() == [[1, 10, 1, 10]] * 3


def test_targets_by_hand() -> None:
    mix = Mix(0.25, torch.zeros(1, 4, dtype=torch.bool), torch.tensor([[1, 0]]))
    target, weight = mix_targets(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1.0, 0.0]), mix)
    assert target.tolist() == [[0.25, 0.75], [0.75, 0.25]]
    assert weight.tolist() == [0.25, 0.75]
