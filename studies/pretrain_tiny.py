"""Make the shipped weights of vit_tiny: pose regression on single frames, the counterpart of ImageNet weights.

    python studies/pretrain_tiny.py --steps 3500 --out sefar/weights/vit_tiny_synthgym_frames.safetensors

The figures' poses and performers are disjoint from the benchmark's (`pretrain_frames`), a frame shows no motion, and no
element's name is used: what is learnt is to see a figure, as ImageNet weights see objects. The
same arguments give the same weights on the same kind of machine.

Shape suffixes: M frames, P pose targets, J joints, N patches, C channels, H, W pixels, D width.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
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


def parse_arguments() -> argparse.Namespace:
    """Flags; their defaults made the shipped weights."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=3500)
    parser.add_argument("--frames", type=int, default=128, help="frames a step")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sefar/weights/vit_tiny_synthgym_frames.safetensors"))
    return parser.parse_args()


def main() -> None:
    """Train, report the error on frames never trained on, write the weights."""
    args = parse_arguments()
    torch.manual_seed(args.seed)
    config = ModelConfig(name="vit_tiny", pretrained="none", drop_path=0.0)
    encoder = DividedSpaceTimeViT(config, SIZE, (1,))
    head = nn.Linear(encoder.arch.width, len(PRETRAIN_TARGETS))
    where = nn.Linear(encoder.arch.width, len(JOINTS))
    # a single frame has no time: the temporal layers stay as initialised and are not shipped
    trained = [p for n, p in encoder.named_parameters() if "temporal" not in n and "time_embed" not in n]
    optimiser = torch.optim.AdamW(
        [*trained, *head.parameters(), *where.parameters()], lr=args.learning_rate, weight_decay=0.02
    )
    held_images, held_target = make_batch(10**6, 1024, args.seed + 1)
    held_pose = egocentric(held_target)
    spread_P = held_pose.std(0).clamp_min(0.05)
    started = time.perf_counter()

    def predict(images: Tensor) -> tuple[Tensor, Tensor]:
        tokens = encoder.embed(normalise(images)[:, None]) + encoder.pos_embed[:, None, 1:]
        cls_MD, patches_M1ND = encoder.run_blocks(tokens)
        return head(encoder.norm(cls_MD)), where(encoder.norm(patches_M1ND[:, 0]))

    with ThreadPoolExecutor(1) as pool:
        ahead: Future[tuple[Tensor, Tensor]] = pool.submit(make_batch, 0, args.frames, args.seed)
        for step in range(args.steps):
            images, target = ahead.result()
            ahead = pool.submit(make_batch, step + 1, args.frames, args.seed)
            warm = min(1.0, (step + 1) / 200)
            for group in optimiser.param_groups:
                group["lr"] = args.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / args.steps))
            pose_MP, joint_logits_MNJ = predict(images)
            # which patch each joint lies in: a dense target teaches the patch tokens sooner than the pose alone
            patch_MJ = joint_patch(target, encoder.grid)
            located = F.cross_entropy(joint_logits_MNJ, patch_MJ, ignore_index=-1)
            loss = (((pose_MP - egocentric(target)) / spread_P) ** 2).mean() + 0.3 * located
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            if step % 200 == 199 or step == args.steps - 1:
                encoder.eval()
                with torch.no_grad():
                    error_P = ((predict(held_images)[0] - held_pose) ** 2).mean(0) / spread_P**2
                encoder.train()
                worst = sorted(zip(error_P.tolist(), PRETRAIN_TARGETS, strict=True), reverse=True)[:3]
                print(
                    f"step {step + 1}: unexplained variance {error_P.mean():.3f} (worst "
                    + ", ".join(f"{name} {value:.2f}" for value, name in worst)
                    + f"), {time.perf_counter() - started:.0f} s",
                    flush=True,
                )
    kept = {k: v.contiguous() for k, v in encoder.state_dict().items() if "temporal" not in k and "time_embed" not in k}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(kept, args.out, metadata={"source": "studies/pretrain_tiny.py", "steps": str(args.steps)})
    print(f"{args.out}: {sum(v.numel() for v in kept.values()) / 1e6:.2f} M parameters")


if __name__ == "__main__":
    main()
