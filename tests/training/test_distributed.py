"""Two processes that train together give what one gives on the joined batch."""

from __future__ import annotations

import datetime
import os
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sefar.config import TrainConfig
from sefar.data.scopes import Scope
from sefar.errors import ConfigError, DecodeError, TrainingError
from sefar.models.granularity import SefarNet
from sefar.recipes import METHODS
from sefar.ssl.mixing import Mix
from sefar.ssl.teacher import make_teacher
from sefar.training.distributed import World, partners_of_share
from sefar.training.trainer import Trainer

SECONDS = 120  # after which a process that waits for the other gives up
VARIANTS: tuple[dict[str, Any], ...] = (
    {"weighting.kind": "softmatch", "optim.accumulate": 2, "optim.clip_norm": 5.0},
    {"mixing.partner": "per_granularity", "mixing.prediction": "logits", "perturb.kind": "shuffle_fine"},
    {**METHODS["fixmatch"], "weighting.threshold": 0.7},
)


def ready(config: TrainConfig, scope: Scope, world: World) -> Trainer:
    """A trainer after warm-up, with weights under which every part matters.

    The student's dropout and drop path, which each process draws for its own clips, are off; the teacher's dropout,
    which all draw alike for the joined batch, is on.
    """
    trainer = Trainer(config, scope, device="cpu", world=world)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in trainer.student.named_parameters():
            if name.endswith(("temporal_fc.weight", "fc.weight", "pos_embed", "cls_token")) or "time_embed" in name:
                parameter.normal_(std=0.2, generator=generator)
            if "patch_embed" in name:
                parameter.mul_(4.0)  # else a frame hardly moves an untrained network
    trainer.teacher = cast(SefarNet, make_teacher(trainer.student))
    trainer.teacher.dropout.p = 0.5
    trainer.step = trainer.steps_per_epoch
    return trainer


def outcome(config: TrainConfig, scope: Scope, world: World) -> dict[str, Any]:
    """Gradients of a full step after a supervised one; state, report and evaluation after an epoch of two."""
    scope = replace(scope, test=scope.test.iloc[:-1])  # does not divide by two
    trainer = ready(config, scope, world)
    accumulate = config.optim.accumulate
    trainer.train_step([trainer.source.batch(trainer.step * accumulate, with_unlabelled=False)])
    numbers = range(trainer.step * accumulate, (trainer.step + 1) * accumulate)
    trainer.train_step([trainer.source.batch(n, with_unlabelled=True) for n in numbers])
    gradients = {name: cast(torch.Tensor, p.grad).clone() for name, p in trainer.student.named_parameters()}
    report = trainer.train_epoch().to_dict()
    numbers = {k: v for k, v in report.items() if not k.endswith(("seconds", "per_second", "mib"))}
    state = trainer.state_dict()
    kept = {key: state[key] for key in ("student", "teacher", "weighting", "histogram")}
    kept["evaluation"] = trainer.evaluate("test")
    trainer.close()
    return {"gradients": gradients, "report": numbers, **kept}


def failures(config: TrainConfig, scope: Scope, world: World) -> list[Any]:
    """How a loss that is not finite, and a clip that does not decode, on rank 1 alone reach both."""
    trainer = Trainer(config, scope, device="cpu", world=world)
    if world.rank == 1:
        with torch.no_grad():
            trainer.student.fc.bias.fill_(float("nan"))
    found: list[Any] = []
    try:
        trainer.train_epoch()
    except TrainingError as error:
        found += [str(error), error.clip_ids]

    def read() -> int:
        if world.rank == 1:
            raise DecodeError("b.mp4: does not decode")
        return 1

    try:
        world.agreed(read, torch.device("cpu"))
    except DecodeError as error:
        found.append(str(error))
    backbone = config.override({"teacher.stochastic": "backbone", "model.drop_path": 0.3})
    one_clip = replace(scope, test=scope.test.iloc[[0] * len(scope.test)])
    with closing(Trainer(backbone, one_clip, device="cpu", world=world)) as drawing:
        found.append(drawing.evaluate("test").predictions.spread.to_numpy())
    last = str(scope.test.path.iloc[-1])  # of rank 1's run
    trainer.scope = replace(scope, test=scope.test.assign(path=[*scope.test.path.iloc[:-1], last + ".gone"]))
    try:
        trainer.evaluate("test")
    except DecodeError as error:
        found.append(str(error))
    assert world.agreed(lambda: world.rank, torch.device("cpu")) == world.rank
    trainer.close()
    return found


def work(rank: int, folder: str, configs: list[TrainConfig], scope: Scope) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    limit = datetime.timedelta(seconds=SECONDS)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=limit)
    world = World.current()
    assert world == World(rank, 2)
    found = [outcome(config, scope, world) for config in configs]
    torch.save((found, failures(configs[0], scope, world)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def configs(tiny_config: TrainConfig) -> list[TrainConfig]:
    # of 11 clips that are evaluated one process has a batch and a clip, the other a batch and two
    base = {"model.dropout": 0.0, "model.drop_path": 0.0, "loader.workers": 0, "evaluation.batch": 4}
    # the mixed loss is small by nature; weighed up, a partner taken from elsewhere shows
    base |= {"objective.gamma_mix": 200.0}
    # AdamW's first steps are as long for a gradient that is rounding as for any other
    base |= {"optim.optimiser": "sgd", "optim.learning_rate": 0.01}
    return [tiny_config.override({**base, **variant}) for variant in VARIANTS]


@pytest.fixture(scope="module")
def two(configs: list[TrainConfig], tiny_scope: Scope, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("world")
    context = mp.get_context("spawn")
    processes = [context.Process(target=work, args=(r, str(folder), configs, tiny_scope)) for r in range(2)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(SECONDS)
        assert [process.exitcode for process in processes] == [0, 0]
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("number", range(len(VARIANTS)))
def test_two_processes_equal_one_on_the_joined_batch(
    configs: list[TrainConfig], tiny_scope: Scope, two: list[Any], number: int
) -> None:
    first, second = (found[number] for found, _ in two)
    alone = outcome(configs[number], tiny_scope, World())
    assert max(float(g.abs().max()) for g in alone["gradients"].values()) > 1e-2
    for name, expected in alone["gradients"].items():
        torch.testing.assert_close(first["gradients"][name], expected, rtol=0, atol=1e-5)
    for part in ("student", "teacher", "weighting"):
        for name, expected in alone[part].items():
            torch.testing.assert_close(first[part][name], expected, rtol=1e-4, atol=1e-5)
            assert torch.equal(first[part][name], second[part][name]), name  # to the last bit on both
    for name, value in alone["report"].items():
        assert first["report"][name] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), name
        assert second["report"][name] == pytest.approx(first["report"][name], rel=0, abs=0, nan_ok=True), name
    if configs[number].objective.gamma_mix:
        assert alone["report"]["spread_mean"] > 1e-3 and alone["report"]["mixed_loss"] > 0
        assert alone["evaluation"].predictions.spread.max() > 1e-3
    else:
        assert 0 < alone["report"]["weight_mean"] < 1  # some pseudo-labels pass the threshold, not all
    assert torch.equal(first["histogram"]["counts"], second["histogram"]["counts"])
    for found in (first["evaluation"], second["evaluation"]):
        assert found.metrics == pytest.approx(alone["evaluation"].metrics, abs=0.01)
        pd.testing.assert_frame_equal(found.predictions, alone["evaluation"].predictions, atol=1e-4, rtol=0)
        for who, answers in alone["evaluation"].answers.items():
            for name, expected in vars(answers).items():
                np.testing.assert_allclose(getattr(found.answers[who], name), expected, atol=1e-4, err_msg=name)
    assert len(alone["evaluation"].predictions) % 2 == 1


def test_what_goes_wrong_on_one_stops_both(configs: list[TrainConfig], tiny_scope: Scope, two: list[Any]) -> None:
    trainer = Trainer(configs[0], tiny_scope, device="cpu")
    clips = trainer.source.batch(0, with_unlabelled=False).clip_ids
    for _, (message, clip_ids, unread, spread, gone) in two:
        assert message.startswith("the loss is not finite at step 0 (epoch 0)")
        assert clip_ids == clips
        assert unread == "b.mp4: does not decode"
        assert gone.startswith(f"{tiny_scope.test.path.iloc[-1]}.gone: ")
        # of one and the same clip: drop path is drawn by each for its own rows, and both have all answers
        assert (spread == two[0][1][3]).all() and len({*spread.round(6)}) == len(spread) == len(tiny_scope.test)


def test_a_batch_must_divide(tiny_config: TrainConfig, tiny_scope: Scope) -> None:
    with pytest.raises(ConfigError, match=r"^loader\.labelled: expected a multiple of the 3 processes, got 4$"):
        Trainer(tiny_config, tiny_scope, device="cpu", world=World(0, 3))


def test_shares_are_equal_runs_of_rows() -> None:
    rows = torch.arange(6)
    assert [World(r, 3).share(rows).tolist() for r in range(3)] == [[0, 1], [2, 3], [4, 5]]
    assert World().share(rows) is rows and World().join(rows) is rows and World().mean(rows) is rows


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 11, 12])
def test_evaluated_runs_are_about_equal_and_join_in_order(
    size: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [World(r, size).run(count) for r in range(size)]
    if count < size:
        assert runs == [range(count)] * size
    else:
        assert [n for run in runs for n in run] == list(range(count))
        assert max(map(len, runs)) - min(map(len, runs)) <= 1
    sent: list[torch.Tensor] = []
    monkeypatch.setattr(World, "join", lambda _, x: sent.append(x) or torch.cat([x for _ in range(size)]))
    for rank, run in enumerate(runs):
        World(rank, size).join_runs(torch.tensor([[n, -n] for n in run]).reshape(-1, 2), count)
    if not sent:  # alone, or all did all
        assert size == 1 or count < size
        return
    monkeypatch.setattr(World, "join", lambda *_: torch.cat(sent))
    joined = World(0, size).join_runs(torch.tensor([[n, -n] for n in runs[0]]), count)
    assert joined.tolist() == [[n, -n] for n in range(count)]


def test_partners_come_from_the_whole_batch_each_granularity_its_own() -> None:
    clean = torch.arange(4)[:, None, None, None, None] * 10 + torch.arange(3)[None, :, None, None, None]
    mix = Mix(0.5, torch.zeros(2, 1, dtype=torch.bool), torch.tensor([[3, 2, 1, 0], [1, 0, 3, 2]]))
    frames, own = partners_of_share(clean, torch.arange(4), mix, (1, 2), World(1, 2))
    # clips 2 and 3: their one fine frame from clips 1 and 0, their context from 3 and 2
    assert frames[:, :, 0, 0, 0].tolist() == [[10, 31, 32], [0, 21, 22]]
    assert own.partner_GB.tolist() == [[0, 1], [0, 1]]
    assert partners_of_share(clean, torch.arange(4), mix, (1, 2), World())[1] is mix
    assert World().needs(4, 4, mix) is None
    needed = World(0, 2).needs(4, 4, replace(mix, partner_GB=mix.partner_GB[:1]))
    assert needed is not None
    assert [rows.tolist() for rows in vars(needed).values()] == [[0, 1], [0, 1], [0, 1, 2, 3]]
    alone = World(1, 2).needs(2, 4, None)  # nothing is mixed
    assert alone is not None and [rows.tolist() for rows in vars(alone).values()] == [[1], [2, 3], [2, 3]]
    # of clips 0 and 2 alone, frames of clip 0's share: its partner is clip 2, clip 1 has its own row there
    some = replace(mix, partner_GB=torch.tensor([[2, 0, 3, 1]]).expand(2, -1))
    frames, _ = partners_of_share(clean[[0, 2]], torch.tensor([0, 2]), some, (1, 2), World(0, 2))
    assert frames[:, :, 0, 0, 0].tolist() == [[20, 21, 22], [0, 1, 2]]
    with pytest.raises(ValueError, match=r"lacks strong views that its clips are mixed with"):
        partners_of_share(clean[[0, 1]], torch.tensor([0, 1]), some, (1, 2), World(0, 2))


def test_processes_draw_apart() -> None:
    drawn = []
    for rank in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            World(rank, 2).spread_seeds()
            drawn.append(torch.rand(4))
    assert not torch.equal(*drawn)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        World().spread_seeds()
        assert torch.equal(torch.rand(1), expected)  # alone nothing changes


def test_current_is_alone_without_a_group() -> None:
    assert World.current() == World(0, 1)
