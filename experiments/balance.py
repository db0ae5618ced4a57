"""Automatic balance compared with tuned weights: a hundredfold range of alpha, other layers, other sizes; one table.

    python experiments/balance.py CELEBA --size 32 --judge judge.safetensors --features features.safetensors

The tuned weights divide terms by their variance (alpha 0.004, half pixels, half features); the automatic balance makes
each term a Gaussian likelihood with its own fitted variance, so that alpha 1 is the ELBO. Every run is measured on the
validation split as in search_weights.py. Finished runs are stored in the JSON file and not repeated.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from search_weights import measure_all

from dfcvae.config import FeatureConfig, LossConfig

LAYERS = {
    "14/24/34/43": [14, 24, 34, 43],
    "conv3_1": ["conv3_1"],
    "with relu1_2": ["relu1_2", 14, 24, 34, 43],
}


def losses(weights: str) -> dict[str, LossConfig]:
    """The losses to compare, by name."""
    found = {"automatic, pixels alone, alpha=1": LossConfig(alpha=1.0, scale="likelihood")}
    for name, layers in LAYERS.items():
        features = FeatureConfig("dfc", weights, layers=list(layers), pooling="average")
        tuned = LossConfig(pixel_weight=0.5, features=replace(features, layer_weights=0.5 / len(layers)))
        automatic = LossConfig(alpha=1.0, scale="likelihood", features=features)
        for factor in (0.1, 1, 10) if name == "14/24/34/43" else (1,):
            found[f"tuned, {name}, alpha={0.004 * factor:g}"] = replace(tuned, alpha=0.004 * factor)
            found[f"automatic, {name}, alpha={factor:g}"] = replace(automatic, alpha=factor)
    return found


def main() -> None:
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="path of CelebA")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--features", required=True, metavar="FILE")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--only", default="", help="only runs whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("balance.json"))
    args = parser.parse_args()
    measure_all({name: loss for name, loss in losses(args.features).items() if args.only in name}, args)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
