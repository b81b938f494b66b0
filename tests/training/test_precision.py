"""bfloat16 and compilation: same method, same names, other speed. And one step at full size."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from sefar.config import TrainConfig
from sefar.data.loaders import Batch
from sefar.data.scopes import Scope
from sefar.errors import ConfigError
from sefar.models.granularity import SefarNet
from sefar.recipes import recipe
from sefar.ssl.teacher import make_teacher
from sefar.ssl.weighting import build_weighting
from sefar.training.distributed import World
from sefar.training.precision import autocast, choose_dtype
from sefar.training.schedule import OptimConfig
from sefar.training.step import Criterion, StepLoss
from sefar.training.trainer import Trainer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LOSSES = ("total_loss", "supervised_loss", "unlabelled_loss", "mixed_loss")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_auto_is_bfloat16_where_a_gpu_is_made_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    native = True
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert choose_dtype("auto", CPU) == choose_dtype("float32", CUDA) == torch.float32
    assert choose_dtype("auto", CUDA) == choose_dtype("bfloat16", CUDA) == torch.bfloat16
    native = False
    assert choose_dtype("auto", CUDA) == torch.float32
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        assert choose_dtype("bfloat16", CPU) == choose_dtype("bfloat16", CUDA) == torch.bfloat16
    warned = [record.getMessage() for record in caplog.records]
    assert [text.split(":")[0] for text in warned] == [
        f"optim.precision=bfloat16 on {name}" for name in ("cpu", "cuda")
    ]
    assert "50 times slower than float32" in warned[0]
    with pytest.raises(ConfigError, match=r"^optim\.precision: 'bfloat1' is unknown — did you mean 'bfloat16'\?"):
        OptimConfig(precision="bfloat1")


def epochs(config: TrainConfig, scope: Scope, device: str = "cpu") -> tuple[list[dict[str, Any]], Trainer]:
    trainer = Trainer(config, scope, device=device)
    return [report.to_dict() for report in trainer], trainer


def test_bfloat16_computes_the_networks_alone(
    tiny_config: TrainConfig, tiny_scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config.override({"optim.epochs": 2})
    expected, _ = epochs(config, tiny_scope)
    seen: set[tuple[bool, torch.dtype]] = set()
    fuse = SefarNet.fuse

    def watched(net: SefarNet, cls_GBD: Tensor) -> Tensor:
        seen.add((net.training, net.post_fusion1(torch.cat([cls_GBD[0], cls_GBD[1]], 1)).dtype))
        return fuse(net, cls_GBD)

    found: list[StepLoss] = []
    call = Criterion.__call__
    monkeypatch.setattr(SefarNet, "fuse", watched)
    monkeypatch.setattr(Criterion, "__call__", lambda *args: found.append(call(*args)) or found[-1])
    reports, trainer = epochs(config.override({"optim.precision": "bfloat16"}), tiny_scope)
    assert seen == {(True, torch.bfloat16), (False, torch.bfloat16)}  # the student's; the teacher's and in evaluation
    assert all(loss.dtype == torch.float32 for step in found for loss in (step.total, *step.parts.values()))
    said = found[-1].said
    assert said is not None and said.probs_BK.dtype == torch.float32
    torch.testing.assert_close(said.probs_BK.sum(1), torch.ones(len(said.probs_BK)), rtol=0, atol=1e-6)
    for values, exact in zip(reports, expected, strict=True):
        assert any(values[name] != exact[name] for name in LOSSES)
        for name in LOSSES:
            assert values[name] == pytest.approx(exact[name], rel=0.02, nan_ok=True), name
    assert trainer.teacher is not None
    for net in (trainer.student, trainer.teacher):
        assert {value.dtype for value in net.state_dict().values()} == {torch.float32}


def test_compilation_touches_neither_names_nor_the_teachers_weights(
    tiny_config: TrainConfig, tiny_scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []

    def compiled(call: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            ran.append(call.__self__)  # type: ignore[attr-defined]
            return call(*args)

        return run

    expected, plain = epochs(tiny_config, tiny_scope)
    monkeypatch.setattr(torch, "compile", compiled)
    reports, trainer = epochs(tiny_config.override({"optim.compile": True}), tiny_scope)
    assert trainer.teacher is not None
    assert {id(module) for module in ran} == {id(trainer.student.encoder), id(trainer.teacher.encoder)}
    for values, exact in zip(reports, expected, strict=True):
        assert {k: values[k] for k in LOSSES} == pytest.approx({k: exact[k] for k in LOSSES}, nan_ok=True)
        assert values["dev_teacher_top1"] == pytest.approx(exact["dev_teacher_top1"], nan_ok=True)
    assert list(trainer.student.state_dict()) == list(plain.student.state_dict())
    resumed = Trainer(trainer.config, tiny_scope, device="cpu")
    resumed.load_state_dict(trainer.state_dict())
    ran.clear()
    resumed.evaluate("dev")
    assert resumed.teacher is not None
    assert {id(module) for module in ran} == {id(resumed.student.encoder), id(resumed.teacher.encoder)}


def full_size(overrides: dict[str, Any], device: torch.device) -> tuple[Criterion, SefarNet, SefarNet, Batch]:
    """ViT-S at 224 px with a teacher, and a batch of noise: two labelled clips, two unlabelled."""
    config = recipe(
        "paper_vit_s", {"model.pretrained": "none", "loader.labelled": 2, "loader.unlabelled_ratio": 1, **overrides}
    )
    torch.manual_seed(0)
    student = SefarNet(
        config.model,
        image_size=config.views.size,
        frames_per_granularity=config.sampling.frames_per_granularity,
        num_classes=99,
    ).to(device)
    teacher = cast(SefarNet, make_teacher(student))
    if config.optim.compile:
        student.encoder.compile()
        teacher.encoder.compile()
    dtype = choose_dtype(config.optim.precision, device)
    weighting = build_weighting(config.weighting, 99).to(device)
    criterion = Criterion(config, student, student, weighting, autocast=lambda: autocast(device, dtype), world=World())
    clip = torch.randint(0, 256, (3, 2, 8, 3, 224, 224), dtype=torch.uint8)
    unknown = torch.full((2,), -1)
    batch = Batch(clip[0], torch.tensor([3, 98]), clip[1], clip[2], unknown, ("a", "b", "c", "d"))
    return criterion, student, teacher, batch.to(device)


def step(overrides: dict[str, Any], device: torch.device) -> tuple[dict[str, float], SefarNet]:
    """Losses and the student with gradients of one step in the last epoch."""
    criterion, student, teacher, batch = full_size(overrides, device)
    torch.manual_seed(1)
    found = criterion(batch, teacher, 29, torch.Generator().manual_seed(2))
    found.total.backward()
    return {name: float(value) for name, value in found.parts.items()}, student


@pytest.mark.slow
def test_a_vit_s_step_runs_on_a_cpu() -> None:
    losses, student = step({}, CPU)
    assert losses["supervised_loss"] == pytest.approx(4.6, abs=0.5)  # about log 99, knowing nothing
    assert losses["unlabelled_loss"] > 0 and losses["mixed_loss"] > 0
    assert losses["total_loss"] == pytest.approx(
        losses["supervised_loss"] + 2 * losses["unlabelled_loss"] + 2 * losses["mixed_loss"], rel=1e-5
    )  # the ramp is 1 in the last epoch
    untouched = [n for n, p in student.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert untouched == []


@pytest.mark.slow
def test_a_compiled_encoder_gives_the_same_features(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    plain = Trainer(tiny_config, tiny_scope, device="cpu")
    compiled = Trainer(tiny_config.override({"optim.compile": True}), tiny_scope, device="cpu")
    frames = torch.randn(2, 8, 3, 64, 64)
    with torch.no_grad():
        expected = plain.student.eval()(frames)
        torch.testing.assert_close(compiled.student.eval()(frames), expected, rtol=1e-4, atol=1e-5)


@gpu
@pytest.mark.gpu
def test_bfloat16_losses_match_float32_on_a_gpu() -> None:
    dropless = {"model.drop_path": 0.0}
    exact, _ = step({**dropless, "optim.precision": "float32"}, CUDA)
    rounded, student = step({**dropless, "optim.precision": "bfloat16"}, CUDA)
    assert rounded != exact
    for name in LOSSES:
        assert rounded[name] == pytest.approx(exact[name], rel=0.02), name
    assert all(p.dtype == torch.float32 and torch.isfinite(cast(Tensor, p.grad)).all() for p in student.parameters())


@gpu
@pytest.mark.gpu
@pytest.mark.slow
def test_a_compiled_step_matches_on_a_gpu() -> None:
    dropless = {"model.drop_path": 0.0, "optim.precision": "float32"}
    exact, _ = step(dropless, CUDA)
    compiled, student = step({**dropless, "optim.compile": True}, CUDA)
    for name in LOSSES:
        assert compiled[name] == pytest.approx(exact[name], rel=0.02), name
    assert not [name for name in student.state_dict() if "_orig_mod" in name]


@gpu
@pytest.mark.gpu
def test_a_short_run_on_a_gpu_is_finite_and_resumes(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    reports, trainer = epochs(tiny_config, tiny_scope, device="cuda")
    assert trainer.dtype == choose_dtype("auto", CUDA)
    assert all(torch.isfinite(torch.tensor(report["total_loss"])) for report in reports)
    assert reports[-1]["peak_memory_mib"] > 0
    again = Trainer(tiny_config, tiny_scope, device="cuda")
    again.load_state_dict(trainer.state_dict())
    assert again.evaluate("test").metrics == trainer.evaluate("test").metrics
