"""Numerical accuracy of the fast training paths: gradients and loss curves compared with plain float32.

    python experiments/numerics.py CELEBA --features compact --size 32 --steps 2000 --out OUT

The reference is the feature network as torchvision has it (batch norms not folded, NCHW, no cached targets) in float32.
Each fast path is compared with it twice: by the gradient of the VAE's parameters for one batch, before and after
training, and by the training loss of a run of STEPS steps. `another seed` is the reference with other noise, order and
flips from the same initial weights: the scale for judging differences. On hardware without
bfloat16 those paths are slow: leave their runs out with `--paths`.
Writes OUT/numerics.json and OUT/numerics.png.
"""

import argparse
import copy
import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from dfcvae.build import build_objective, build_perceptual, build_vae, use_bfloat16_features
from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig, ModelConfig, TrainingConfig
from dfcvae.data import Splits, TrainingBatches, load_faces
from dfcvae.data.batches import Batch
from dfcvae.device import environment, pick_device
from dfcvae.images import normalize_imagenet, to_rgb
from dfcvae.losses import PerceptualLoss
from dfcvae.targets import Targets
from dfcvae.training import terms_of, train
from dfcvae.vae import VAE
from dfcvae.vgg import layer_names, vgg_layers
from dfcvae.weights import load_vgg_weights

BF16 = "bf16-mixed"
PATHS = {  # precision, cache_targets; all of them but the reference with the shipped feature network
    "reference": ("32-true", "never"),
    "another seed": ("32-true", "never"),
    "float32": ("32-true", "never"),
    "float32, cached targets": ("32-true", "memory"),
    "bfloat16": (BF16, "never"),
    "bfloat16, cached targets": (BF16, "memory"),
}
SMOOTH = 50  # logged steps in a moving average of the figure
LAST = 20  # logged steps in the means of the table


class PlainFeatures(nn.Module):
    """torchvision's modules one after another, as they are."""

    def __init__(self, arch: str, names: list[str], weights: str, average: bool):
        super().__init__()
        self.indices = [layer_names(arch).index(name) for name in names]
        depth = max(self.indices) + 1
        state, width = load_vgg_weights(arch, weights, depth)
        modules = list(vgg_layers(arch, width).values())[:depth]
        network = nn.Sequential(*modules).eval().requires_grad_(False)
        network.load_state_dict(state, strict=False)
        swap = {i: nn.AvgPool2d(2, 2) for i, m in enumerate(modules) if isinstance(m, nn.MaxPool2d) and average}
        self.network = nn.ModuleList(swap.get(i, module) for i, module in enumerate(network))
        self.arch, self.names = arch, names

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h, outputs = normalize_imagenet(to_rgb(x)), {}
        for index, module in enumerate(self.network):
            h = module(h)
            if index in self.indices:
                outputs[layer_names(self.arch)[index]] = h
        return outputs

    def train(self, mode: bool = True) -> "PlainFeatures":
        return super().train(False)


def plain(config: FeatureConfig) -> PerceptualLoss:
    """The loss of a configuration with the plain feature network."""
    loss = build_perceptual(config)
    average = any(isinstance(module, nn.AvgPool2d) for module in loss.features.modules())
    loss.features = PlainFeatures(loss.features.arch, loss.features.names, config.weights, average)
    # its parameters belong neither to the VAE nor to a checkpoint
    for module in loss.features.network:
        for name, parameter in list(module.named_parameters()):
            delattr(module, name)
            module.register_buffer(name, parameter.data, persistent=False)
        for name, buffer in list(module.named_buffers()):
            delattr(module, name)
            module.register_buffer(name, buffer, persistent=False)
    return loss


@contextmanager
def feature_network(name: str) -> Iterator[None]:
    """Runs in here have the feature network of a path."""
    with patch("dfcvae.training.build_perceptual", lambda config: built(config, name)):
        yield


def built(config: FeatureConfig, name: str) -> PerceptualLoss:
    """The loss of a configuration with the feature network of a path."""
    return plain(config) if name in ("reference", "another seed") else build_perceptual(config)


def of_path(experiment: Experiment, name: str) -> Experiment:
    """The experiment on one of the paths."""
    precision, where = PATHS[name]
    features = replace(experiment.loss.features, cache_targets=where)
    training = replace(experiment.training, precision=precision)
    return replace(experiment, loss=replace(experiment.loss, features=features), training=training)


def curve(experiment: Experiment, name: str, splits: Splits, out: Path) -> list[float]:
    """Training loss of the logged steps."""
    folder = out / "runs" / name.replace(", ", "-").replace(" ", "-")
    experiment = of_path(experiment, name)
    if not (folder / "metrics.csv").exists():
        initial = build_vae(experiment)  # the initial weights are those of the first seed in any case
        if name == "another seed":
            experiment = replace(experiment, training=replace(experiment.training, seed=experiment.training.seed + 1))
        with feature_network(name), patch("dfcvae.training.build_vae", lambda _: initial):
            train(experiment, folder, data=splits)
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["train/total"]) for row in csv.DictReader(file) if row["train/total"]]


def gradient(experiment: Experiment, name: str, vae: VAE, batch: Batch, images: Tensor, seed: int = 0) -> Tensor:
    """Total and gradient of all parameters (P + 1,) for one batch, as a training step of the path computes them."""
    experiment = of_path(experiment, name)
    device = pick_device()
    objective = build_objective(experiment.loss, built(experiment.loss.features, name), images, device=device)
    vae = copy.deepcopy(vae)
    vae, objective = vae.to(device).train(), objective.to(device)
    half = experiment.training.precision == BF16
    if half:
        use_bfloat16_features(objective)
    batch = Batch(*(part.to(device) for part in batch[:2]))
    if experiment.loss.features.cache_targets == "memory":
        kept = Targets(objective.perceptual, batch.images, False, device, progress=False).in_memory()
        everything = torch.arange(len(batch.images), device=device)
        batch = batch._replace(targets=kept(everything, torch.zeros_like(everything, dtype=torch.bool)))
    eps = torch.randn(len(batch.images), vae.latent_dim, generator=torch.Generator().manual_seed(seed)).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        terms, _ = terms_of(vae, objective, batch.images, eps, targets=batch.targets)
    total = terms["total"].mean()
    total.backward()
    return torch.cat([total.detach()[None], *(p.grad.flatten() for p in vae.parameters())]).double().cpu()


def gradient_errors(experiment: Experiment, vae: VAE, splits: Splits) -> dict[str, dict[str, float]]:
    """Relative errors of the loss and of the gradient against the reference; `another seed` has other noise."""
    batch = next(TrainingBatches(splits["train"], experiment.training.batch_size, seed=0).starting_at(0))
    images = splits["train"].images
    exact = gradient(experiment, "reference", vae, batch, images)
    errors = {}
    for name in PATHS:
        value = gradient(experiment, name, vae, batch, images, seed=int(name == "another seed"))
        difference = value - exact
        errors[name] = {
            "loss": float(difference[0].abs() / exact[0]),
            "gradient": float(difference[1:].norm() / exact[1:].norm()),
        }
    return errors


def draw(curves: dict[str, list[float]], out: Path) -> None:
    """The curves, and their relative differences from the reference."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    reference = torch.tensor(curves["reference"])
    window = min(SMOOTH, max(1, len(reference) // 4))
    kernel = torch.ones(1, 1, window) / window
    steps = 10 * torch.arange(1, len(reference) + 1)[window - 1 :]
    for name, values in curves.items():
        smooth = torch.conv1d(torch.tensor(values)[None, None], kernel)[0, 0]
        relative = torch.conv1d((torch.tensor(values) / reference - 1)[None, None], kernel)[0, 0]
        style = {"reference": ("black", 3.0, 0.35), "another seed": ("0.6", 1.0, 1.0)}.get(name, (None, 1.0, 1.0))
        for axis, shown in ((axes[0], smooth), (axes[1], 100 * relative)):
            axis.plot(steps, shown, label=name, color=style[0], linewidth=style[1], alpha=style[2])
    axes[0].set(xlabel="step", ylabel="training loss", title=f"training loss, mean of {10 * window} steps")
    axes[1].set(xlabel="step", ylabel="percent", title="difference from the reference")
    axes[0].legend(frameon=False)
    figure.savefig(out / "numerics.png", dpi=110)


def main() -> None:
    """Both comparisons for the paths asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--features", required=True, help="weights: imagenet, compact, random or a file")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--paths", nargs="+", default=list(PATHS), help="of these, the reference among them")
    parser.add_argument("--out", type=Path, default=Path("numerics"))
    args = parser.parse_args()
    experiment = Experiment(
        "numerics",
        DataConfig(args.source, args.size),
        ModelConfig(),
        LossConfig(pixel_weight=0.5, features=FeatureConfig(preset="dfc-vae", weights=args.features)),
        TrainingConfig(epochs=10_000, max_steps=args.steps, batch_size=args.batch_size, picture_epochs=10_000),
    )
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32 here, on a GPU too
    splits = load_faces(experiment.data)
    args.out.mkdir(parents=True, exist_ok=True)
    before = gradient_errors(experiment, build_vae(experiment), splits)
    curves = {name: curve(experiment, name, splits, args.out) for name in args.paths}
    trained = VAE.load(args.out / "runs" / "reference" / "checkpoints" / "last.ckpt").to(pick_device())
    after = gradient_errors(experiment, trained, splits)
    draw(curves, args.out)
    last = {name: sum(values[-LAST:]) / len(values[-LAST:]) for name, values in curves.items()}
    results = {
        "before": before,
        "after": after,
        "last": last,
        "curves": curves,
        "environment": environment(),
    }
    (args.out / "numerics.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"{'path':<26}{'loss':>10}{'gradient':>10}{'loss':>12}{'gradient':>10}{'last steps':>13}")
    for name in args.paths:
        row = f"{name:<26}{before[name]['loss']:>10.1e}{before[name]['gradient']:>10.1e}"
        print(f"{row}{after[name]['loss']:>12.1e}{after[name]['gradient']:>10.1e}{last[name]:>13.4f}")


if __name__ == "__main__":
    main()
