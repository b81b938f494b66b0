"""Make the shipped weights of vit_tiny: pose regression on single frames, the counterpart of ImageNet weights.

    python studies/pretrain_tiny.py --out sefar/weights/vit_tiny_synthgym_frames.safetensors

First the pose of one frame is learnt. Then the poses of several unrelated frames: by the context each from its place in
the sequence, which teaches temporal attention and the time embedding of the context to tell first from last, as a dozen
labelled clips cannot; by the fine elements as a set (mean and range), their time embeddings staying zero, so that a
fresh network does not see the order inside an element, which the strong view reverses.
The figures' poses and performers are disjoint from the benchmark's (`pretrain_frames`), the frames of a sequence are
independent draws, so that none shows any motion, and no element's name is used: what is learnt is to see a figure, as
ImageNet weights see objects. The same arguments give the same weights on the same kind of machine.

Shape suffixes: M frames, P pose targets, J joints, N patches, B sequences, T frames of a sequence, G granularities,
C channels, H, W pixels, D width.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

from sefar.data.synthgym import PRETRAIN_TARGETS, pretrain_frames
from sefar.models.granularity import normalise
from sefar.models.timesformer import DividedSpaceTimeViT, ModelConfig

SOURCE, SIZE = 80, 64  # rendered and cropped sides in pixels, as synthgym_tiny sees its clips
JOINTS = tuple(name.removesuffix("_x") for name in PRETRAIN_TARGETS if name.endswith("_x"))
SHORT_SIDE = (68, 92)  # jitter a little wider than the recipe's
FRAMES = (2, 2, 4)  # frames of each granularity, the default of the sampling


def make_batch(step: int, frames: int, seed: int) -> tuple[Tensor, Tensor]:
    """Cropped uint8 frames (M, C, H, W) and pose targets (M, P), positions relative to the crop."""
    images_MHWC, target_MP = pretrain_frames(frames, size=SOURCE, seed=seed * 1_000_003 + step)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step])))
    is_x = np.array([name.endswith("_x") for name in PRETRAIN_TARGETS])
    is_y = np.array([name.endswith("_y") for name in PRETRAIN_TARGETS])
    out = torch.empty(frames, 3, SIZE, SIZE, dtype=torch.uint8)
    target_MP = target_MP.copy()
    for m in range(frames):
        side = round(SOURCE * SIZE / rng.uniform(*SHORT_SIDE))
        left, top = (rng.integers(0, SOURCE - side + 1) for _ in range(2))
        image = torch.from_numpy(images_MHWC[m]).permute(2, 0, 1)[:, top : top + side, left : left + side]
        out[m] = TF.resize(image, [SIZE, SIZE], antialias=side > SIZE)
        for mask, low in ((is_x, left), (is_y, top)):
            pixel = (target_MP[m, mask] + 1) / 2 * SOURCE
            target_MP[m, mask] = (pixel - low) / side * 2 - 1
    return out, torch.from_numpy(target_MP).float()


def egocentric(target_MP: Tensor) -> Tensor:
    """The pose as the figure itself would tell it, the same in a mirrored picture.

    Elements are named relative to the performer's front (forward, backward), never to left and right of the picture.
    Hence horizontal quantities are multiplied by which way the chest points, points are taken relative to the pelvis,
    and the pelvis keeps its height alone.
    """
    pose = target_MP.clone()
    column = {name: index for index, name in enumerate(PRETRAIN_TARGETS)}
    front_M = torch.tanh(4 * target_MP[:, column["twist_cos"]])  # near 0 when the chest faces the viewer or the wall
    for name, index in column.items():
        if name.endswith("_x"):
            pose[:, index] = (target_MP[:, index] - target_MP[:, column["pelvis_x"]]) * front_M
        elif name.endswith("_y") and name != "pelvis_y":
            pose[:, index] = target_MP[:, index] - target_MP[:, column["pelvis_y"]]
        elif name in ("rotation_sin", "twist_cos", "facing"):
            pose[:, index] = target_MP[:, index] * front_M
    return pose


def joint_patch(target_MP: Tensor, grid: int) -> Tensor:
    """Patch number (M, J) each joint lies in; −1 outside the crop."""
    x_MJ, y_MJ = (target_MP[:, [PRETRAIN_TARGETS.index(j + axis) for j in JOINTS]] for axis in ("_x", "_y"))
    column, row = (((v + 1) / 2 * grid).floor().long() for v in (x_MJ, y_MJ))
    inside = (column >= 0) & (column < grid) & (row >= 0) & (row < grid)
    return torch.where(inside, row * grid + column, -1)


def batches(first: int, steps: int, frames: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` batches, each drawn while the one before is trained on."""
    with ThreadPoolExecutor(1) as pool:
        ahead: Future[tuple[Tensor, Tensor]] = pool.submit(make_batch, first, frames, seed)
        for step in range(first + 1, first + steps + 1):
            ready, ahead = ahead.result(), pool.submit(make_batch, step, frames, seed)
            yield ready


def fit(
    name: str,
    parameters: list[nn.Parameter],
    data: Iterator[tuple[Tensor, Tensor]],
    *,
    steps: int,
    rate: float,
    loss: Callable[[Tensor, Tensor], Tensor],
    held_error: Callable[[], str],
) -> None:
    """Minimise `loss(images, target)` with AdamW, warm-up and cosine, saying now and then how it goes."""
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.02)
    started = time.perf_counter()
    for step, (images, target) in enumerate(data):
        warm = min(1.0, (step + 1) / 200)
        for group in optimiser.param_groups:
            group["lr"] = rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimiser.zero_grad(set_to_none=True)
        loss(images, target).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if step % 200 == 199 or step == steps - 1:
            with torch.no_grad():
                said = held_error()
            print(f"{name} step {step + 1}: {said}, {time.perf_counter() - started:.0f} s", flush=True)


def learn_poses(encoder: DividedSpaceTimeViT, args: argparse.Namespace, spread_P: Tensor) -> None:
    """First stage: the pose of a single frame from its class token, and each joint's patch from the patch tokens."""
    head, where = nn.Linear(encoder.arch.width, len(PRETRAIN_TARGETS)), nn.Linear(encoder.arch.width, len(JOINTS))
    held_images, held_target = make_batch(10**6, 1024, args.seed + 1)

    def predict(images: Tensor) -> tuple[Tensor, Tensor]:
        tokens = encoder.embed(normalise(images)[:, None]) + encoder.pos_embed[:, None, 1:]
        cls_MD, patches_M1ND = encoder.run_blocks(tokens)
        return head(encoder.norm(cls_MD)), where(encoder.norm(patches_M1ND[:, 0]))

    def loss(images: Tensor, target_MP: Tensor) -> Tensor:
        pose_MP, joint_logits_MNJ = predict(images)
        # which patch each joint lies in: a dense target teaches the patch tokens sooner than the pose alone
        located = F.cross_entropy(joint_logits_MNJ, joint_patch(target_MP, encoder.grid), ignore_index=-1)
        return (((pose_MP - egocentric(target_MP)) / spread_P) ** 2).mean() + 0.3 * located

    def held_error() -> str:
        error_P = ((predict(held_images)[0] - egocentric(held_target)) ** 2).mean(0) / spread_P**2
        worst = sorted(zip(error_P.tolist(), PRETRAIN_TARGETS, strict=True), reverse=True)[:3]
        named = ", ".join(f"{name} {value:.2f}" for value, name in worst)
        return f"unexplained variance {error_P.mean():.3f} (worst {named})"

    # a single frame has no time: the temporal layers wait for the second stage
    trained = [p for n, p in encoder.named_parameters() if "temporal" not in n and "time_embed" not in n]
    data = batches(0, args.steps, args.frames, args.seed)
    parameters = [*trained, *head.parameters(), *where.parameters()]
    fit("pose", parameters, data, steps=args.steps, rate=args.learning_rate, loss=loss, held_error=held_error)


def order_target(pose_BTP: Tensor, ordered: bool) -> Tensor:
    """What a class token should tell of its frames, (B, n): every pose in order, or the set's mean and range."""
    if ordered:
        return pose_BTP.flatten(1)
    return torch.cat([pose_BTP.mean(1), pose_BTP.amax(1) - pose_BTP.amin(1)], 1)


def learn_order(encoder: DividedSpaceTimeViT, args: argparse.Namespace, spread_P: Tensor) -> None:
    """Second stage: the context's class token tells its unrelated frames in order, a fine element's as a set."""
    poses, per_sequence, context = len(PRETRAIN_TARGETS), sum(FRAMES), len(FRAMES) - 1
    outputs = [(t if g == context else 2) * poses for g, t in enumerate(FRAMES)]
    heads = nn.ModuleList(nn.Linear(encoder.arch.width, n) for n in outputs)
    nn.init.trunc_normal_(encoder.time_embed[context], std=0.02)
    held_images, held_target = make_batch(10**6 + 1, 64 * per_sequence, args.seed + 1)

    def errors_G(images: Tensor, target_MP: Tensor) -> list[Tensor]:
        tokens = encoder.embed(normalise(images).unflatten(0, (-1, per_sequence)))
        cls_GBD = encoder.encode(list(tokens.split(FRAMES, 1)))
        scaled = (egocentric(target_MP) / spread_P).unflatten(0, (-1, per_sequence)).split(FRAMES, 1)
        wanted = [order_target(pose_BTP, g == context) for g, pose_BTP in enumerate(scaled)]
        return [((head(cls_BD) - w) ** 2).mean() for head, cls_BD, w in zip(heads, cls_GBD, wanted, strict=True)]

    def loss(images: Tensor, target_MP: Tensor) -> Tensor:
        return torch.stack(errors_G(images, target_MP)).mean()

    def held_error() -> str:
        named = ", ".join(f"{float(e):.3f}" for e in errors_G(held_images, held_target))
        return f"squared error of the granularities {named}"

    data = batches(10**7, args.order_steps, args.sequences * per_sequence, args.seed)
    fine = {id(embedding) for g, embedding in enumerate(encoder.time_embed) if g != context}
    parameters = [*(p for p in encoder.parameters() if id(p) not in fine), *heads.parameters()]
    fit("order", parameters, data, steps=args.order_steps, rate=args.order_rate, loss=loss, held_error=held_error)


def parse_arguments() -> argparse.Namespace:
    """Flags; their defaults made the shipped weights."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=3500, help="steps of the first stage")
    parser.add_argument("--frames", type=int, default=128, help="frames a step of the first stage")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--order-steps", type=int, default=2500, help="steps of the second stage")
    parser.add_argument("--sequences", type=int, default=24, help="sequences a step of the second stage")
    parser.add_argument("--order-rate", type=float, default=1e-3, help="learning rate of the second stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sefar/weights/vit_tiny_synthgym_frames.safetensors"))
    return parser.parse_args()


def main() -> None:
    """Train both stages, reporting the error on frames never trained on, and write the weights."""
    args = parse_arguments()
    torch.manual_seed(args.seed)
    encoder = DividedSpaceTimeViT(ModelConfig(name="vit_tiny", pretrained="none", drop_path=0.0), SIZE, FRAMES)
    spread_P = egocentric(make_batch(10**6 + 2, 2048, args.seed + 1)[1]).std(0).clamp_min(0.05)
    learn_poses(encoder, args, spread_P)
    learn_order(encoder, args, spread_P)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    kept = {key: value.contiguous() for key, value in encoder.state_dict().items()}
    # one entry only: safetensors writes several in an order that differs from run to run
    made_by = f"studies/pretrain_tiny.py --steps {args.steps} --order-steps {args.order_steps}"
    save_file(kept, args.out, metadata={"made_by": made_by})
    print(f"{args.out}: {sum(v.numel() for v in kept.values()) / 1e6:.2f} M parameters")


if __name__ == "__main__":
    main()
