"""What each perceptual loss preserves of a face: an image optimised from noise towards a target with each loss.

    python experiments/from_noise.py --network compact --steps 600 --out docs/losses/from-noise.png

Adam on the logits of the pixels, so that the image stays in [0, 1]. The target is a synthetic face, or your own image.
Without --network the losses use their ImageNet networks, which are downloaded.
"""

import argparse
import json
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from tqdm import tqdm

from dfcvae.config import DataConfig
from dfcvae.data import read_face
from dfcvae.data.synthetic import render_faces
from dfcvae.errors import UserError
from dfcvae.images import to_float
from dfcvae.losses import NAMES, ImageLoss, SSIMLoss, mean_squared_error, perceptual

FACE = 14  # of the synthetic faces: glasses, a beard, striped clothes, leaves in the background


def from_noise(loss: ImageLoss, target: Tensor, steps: int, rate: float) -> Tensor:
    """The image (1, 3, H, W) that ``steps`` steps of Adam reach from noise."""
    logits = torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimizer = torch.optim.Adam([logits], rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(logits.sigmoid(), target).sum().backward()
        optimizer.step()
    return logits.sigmoid().detach()


def losses(network: str | None, size: int) -> dict[str, ImageLoss]:
    """Every published loss that can be had with this network at this size, by what to call it."""
    found: dict[str, ImageLoss] = {}
    for name in NAMES:
        if name == "ms-ssim" and size <= 160:
            found["ms-ssim, 3 scales"] = SSIMLoss(3)
            continue
        try:
            found[name] = perceptual(name, None if name in ("ssim", "ms-ssim") else network)
        except UserError as error:
            print(f"{name} is skipped: {error}")
    return found


def draw(images: dict[str, Tensor], path: Path) -> None:
    """A strip of named images, seven to a row."""
    columns = 7
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.6 * columns, 1.85 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, image) in zip(axes.flat, images.items(), strict=False):
        axis.imshow(image[0].permute(1, 2, 0).numpy(), interpolation="nearest")
        axis.set_title(name, fontsize=7)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Optimise, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", help="compact, or the file of a feature network (default: ImageNet weights)")
    parser.add_argument("--target", type=Path, help="an image file (default: a synthetic face)")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--out", type=Path, default=Path("from-noise.png"))
    args = parser.parse_args()
    if args.target:
        target = to_float(torch.from_numpy(read_face(args.target, DataConfig(size=args.size)))[None])
    else:
        target = to_float(render_faces([FACE], size=args.size)[0])
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).sigmoid()
    images, report = {"target": target, "noise": noise}, {}
    for name, loss in tqdm(losses(args.network, args.size).items()):
        start, clock = float(loss(noise, target)), time.perf_counter()
        images[name] = from_noise(loss, target, args.steps, args.rate)
        report[name] = {
            "start": start,
            "end": float(loss(images[name], target)),
            "mse": float(mean_squared_error(images[name], target)),
            "seconds": round(time.perf_counter() - clock, 1),
        }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(images, args.out)
    args.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    for name, row in report.items():
        print(f"{name:<24}{row['start']:>12.4g} to {row['end']:<12.4g} MSE {row['mse']:.4f}  {row['seconds']} s")


if __name__ == "__main__":
    main()
