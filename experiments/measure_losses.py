"""Sensitivity, cost and bfloat16 error of each perceptual loss.

    python experiments/measure_losses.py --network compact --source CELEBA --out docs/losses

Writes sensitivity.png (each loss for blur, shift, noise, contrast and other distortions of equal mean squared error)
and measures.json: those values, floating-point operations and times, and the errors of bfloat16 features. Sensitivity
and bfloat16 are measured with the network given, on test faces of --source; costs with the published networks, whose
weights do not affect them. --parts selects some measurements; the others of an existing measures.json stay.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from from_noise import losses
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms.functional import gaussian_blur

from dfcvae.config import DataConfig
from dfcvae.data import load_faces
from dfcvae.data.synthetic import render_faces
from dfcvae.images import to_float, to_rgb
from dfcvae.losses import PRESETS, ImageLoss, mean_squared_error, perceptual

MSE = 0.004  # of every distortion, about 24 dB
IMAGES = 64
ROUNDS = 5
PARTS = ["sensitivity", "costs", "bfloat16"]


def shift(x: Tensor, amount: float) -> Tensor:
    """Moved right by a part of a pixel or more, the edge repeated."""
    whole, part = int(amount), amount - int(amount)
    wide = functional.pad(x, (whole + 1, 0, 0, 0), mode="replicate")
    width = x.shape[-1]
    return (1 - part) * wide[..., 1 : width + 1] + part * wide[..., :width]


def pixelate(x: Tensor, amount: float) -> Tensor:
    """Mixed with its own average over blocks of 8 pixels."""
    coarse = functional.interpolate(functional.avg_pool2d(x, 8), scale_factor=8.0)
    return x + min(amount, 1.0) * (coarse - x)


def grain(x: Tensor, generator_seed: int = 0) -> Tensor:
    """White noise of the shape of x."""
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(generator_seed))


DISTORTIONS: dict[str, tuple[Callable[[Tensor, float], Tensor], float]] = {  # with the largest amount to try
    "blur": (lambda x, amount: gaussian_blur(x, [25, 25], [amount, amount]), 12.0),
    "shift": (shift, 12.0),
    "noise": (lambda x, amount: x + amount * grain(x), 1.0),
    "contrast": (lambda x, amount: x.mean(dim=(2, 3), keepdim=True) + (1 - amount) * (x - x.mean((2, 3), True)), 1.0),
    "brightness": (lambda x, amount: x + amount, 1.0),
    "pixelation": (pixelate, 1.0),
}


def distorted(x: Tensor, name: str) -> Tensor:
    """Images with a distortion as strong as makes the mean squared error of the batch equal to MSE (by bisection)."""
    function, high = DISTORTIONS[name]
    low = 1e-4
    for _ in range(40):
        middle = (low + high) / 2
        error = float(mean_squared_error(function(x, middle), x).mean())
        low, high = (middle, high) if error < MSE else (low, middle)
    return function(x, high)


@torch.no_grad()
def sensitivity(found: dict[str, ImageLoss], x: Tensor) -> dict[str, dict[str, float]]:
    """The mean of every loss for every distortion."""
    images = {name: distorted(x, name) for name in DISTORTIONS}
    errors = {name: float(mean_squared_error(y, x).mean()) for name, y in images.items()}
    table = {"mean squared error": errors}
    for name, loss in found.items():
        table[name] = {kind: float(loss(y, x).mean()) for kind, y in images.items()}
    return table


def draw(table: dict[str, dict[str, float]], path: Path) -> None:
    """The distortions of a synthetic face, and each loss relative to its own mean over the distortions."""
    face = to_float(render_faces([14], size=64)[0])
    figure = plt.figure(figsize=(8.5, 8))
    count = len(DISTORTIONS)
    cells = figure.add_gridspec(2, count + 1, height_ratios=[1, 4.2], hspace=0.05, width_ratios=[1] * count + [0.15])
    for i, name in enumerate(DISTORTIONS):
        axis = figure.add_subplot(cells[0, i])
        axis.imshow(distorted(face, name)[0].clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
        axis.set_title(name, fontsize=9)
        axis.axis("off")
    axis = figure.add_subplot(cells[1, :count])
    rows = [[value / statistics.mean(row.values()) for value in row.values()] for row in table.values()]
    picture = axis.imshow(rows, aspect="auto", cmap="magma", vmin=0, vmax=3)
    axis.set_xticks([])
    axis.set_yticks(range(len(table)), list(table), fontsize=9)
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            axis.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color="w" if value < 2 else "k")
    figure.colorbar(picture, cax=figure.add_subplot(cells[1, count]))
    figure.savefig(path, dpi=110, bbox_inches="tight")


def step(loss: Callable[[Tensor, Tensor], Tensor], x_hat: Tensor, x: Tensor) -> Tensor:
    """Value and gradient."""
    images = x_hat.clone().requires_grad_()
    loss(images, x).sum().backward()
    assert images.grad is not None
    return images.grad


def costs(size: int, batch: int) -> dict[str, dict[str, float]]:
    """Operations per image and time of value and gradient; times interleaved, the median of several rounds."""
    x, x_hat = torch.rand(batch, 3, size, size), torch.rand(batch, 3, size, size)
    every: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean squared error": mean_squared_error}
    every |= {name: perceptual(name, "random") for name in (*PRESETS, "lpips")} | {"ssim": perceptual("ssim")}
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(ROUNDS + 1):  # the first to warm up
        for name, loss in every.items():
            start = time.perf_counter()
            step(loss, x_hat, x)
            seconds[name].append(time.perf_counter() - start)
    result = {}
    for name, loss in every.items():
        with FlopCounterMode(display=False) as counter:
            step(loss, x_hat, x)
        times = [1000 * s / batch for s in seconds[name][1:]]
        result[name] = {
            "gigaflops_per_image": counter.get_total_flops() / batch / 1e9,
            "ms_per_image": statistics.median(times),
            "ms_lowest": min(times),
            "ms_highest": max(times),
        }
    return result


def bfloat16(found: dict[str, ImageLoss], x_hat: Tensor, x: Tensor) -> dict[str, dict[str, float]]:
    """Relative errors of value (largest of any image) and gradient (in the norm) with features in bfloat16."""
    errors = {}
    for name, loss in found.items():
        value, gradient = loss(x_hat, x).detach(), step(loss, x_hat, x)
        if hasattr(loss, "features"):
            loss.features.bfloat16()
        half, other = loss(x_hat, x).detach(), step(loss, x_hat, x)
        errors[name] = {
            "value": float(((half - value).abs() / value).max()),
            "gradient": float((other - gradient).norm() / gradient.norm()),
        }
    return errors


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="compact", help="compact, imagenet or the file of a feature network")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    parser.add_argument("--source", default="synthetic", help="where the faces come from")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8, help="images at a time for the costs")
    parser.add_argument("--out", type=Path, default=Path("losses"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    faces = load_faces(DataConfig(args.source, size=args.size))["test"]
    x = to_rgb(to_float(faces.images[:IMAGES]))
    file = args.out / "measures.json"
    report = json.loads(file.read_text()) if file.is_file() else {}
    if "sensitivity" in args.parts:
        report["sensitivity"] = sensitivity(losses(args.network, args.size), x)
        draw(report["sensitivity"], args.out / "sensitivity.png")
    if "costs" in args.parts:
        report["costs"] = costs(args.size, args.batch)
    if "bfloat16" in args.parts:
        report["bfloat16"] = bfloat16(losses(args.network, args.size), distorted(x, "blur")[:8], x[:8])
    file.write_text(json.dumps(report, indent=1) + "\n")
    for part in args.parts:
        print(f"\n{part}")
        for name, row in report[part].items():
            print(f"{name:<24}" + "".join(f"{key} {value:<10.4g} " for key, value in row.items()))


if __name__ == "__main__":
    main()
