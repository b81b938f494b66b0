"""FLOPs and bytes against what can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sefar.models.linear import linear
from studies.benchmarks.arithmetic import count_flops, matrix_products, matrix_rate, peak_bytes
from studies.benchmarks.plain import make_plain, plain_flops
from studies.benchmarks.step import OURS, PLAIN, clips_of, stepping, students_clips
from studies.benchmarks.synthetic import step_config, synthetic_trainer


def test_linear_maps_and_attention_are_counted_forward_and_backward() -> None:
    x, weight = torch.randn(7, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    assert count_flops(lambda: linear(x, weight, torch.zeros(6))) == 2 * 7 * 4 * 6
    assert count_flops(lambda: linear(x, weight, torch.zeros(6)).sum().backward()) == 3 * 2 * 7 * 4 * 6
    q = torch.randn(2, 3, 5, 8, requires_grad=True)
    forward = 2 * (2 * 2 * 3 * 5 * 5 * 8)  # q kᵀ and p v
    assert count_flops(lambda: F.scaled_dot_product_attention(q, q, q)) == forward
    assert count_flops(lambda: F.scaled_dot_product_attention(q, q, q).sum().backward()) == forward * 7 // 2


def test_the_plain_way_is_counted_without_being_computed(tmp_path: Path) -> None:
    config = step_config("tiny", {"loader.labelled": 1, "teacher.passes": 3})
    trainer = make_plain(synthetic_trainer(config, tmp_path))
    assert plain_flops(trainer) == count_flops(stepping(trainer))


def test_peak_bytes_are_what_is_held_at_once() -> None:
    def work() -> None:
        a = torch.ones(1_000_000)  # 4 MB
        b = a + 1  # 4 MB more
        del a
        b + 1  # in place of a

    work()
    assert peak_bytes(work) == pytest.approx(8e6, rel=0.01)


def test_products_have_the_shapes_of_a_block() -> None:
    config = step_config("tiny")
    sides, flops = matrix_products(config, 2)
    rows = 2 * 8 * 16  # clips, frames, patches
    assert flops == {
        "qkv": 2 * rows * 96 * 288,
        "proj": 2 * rows * 96 * 96,
        "mlp in": 2 * rows * 96 * 192,
        "mlp out": 2 * rows * 192 * 96,
        "square": 2 * 2048**3,
    }
    assert set(sides) == set(flops) | {f"{name}, oneDNN" for name in flops}
    rate, square = matrix_rate(config, 2, repeats=1)
    assert rate > 1e8 and square > 1e8


def test_clips_of_a_step() -> None:
    config = step_config("tiny", {"loader.labelled": 2})
    assert (clips_of(config), students_clips(config)) == (2 + 6, 2 + 6 + 6)
    assert PLAIN != OURS
