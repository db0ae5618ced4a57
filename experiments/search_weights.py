"""Find an alpha and a pixel weight that work for any feature network: short runs over a grid, one table.

    python experiments/search_weights.py CELEBA --judge judge.safetensors \
        --features vgg19_bn=features.safetensors --features vgg16_bn=other.safetensors --out search.json

Every run is measured on the validation split by a judge network it was not trained with: reconstructions by sharpness,
unexplained feature variance and attribute agreement, samples by their Frechet distance to the validation faces in
the judge's pooled features. Finished runs are stored in the JSON file and not repeated.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from dfcvae.attribute_network import AttributeNetwork
from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig, TrainingConfig
from dfcvae.data import Splits, load_faces
from dfcvae.evaluation import JUDGE_LAYERS, embed, evaluate, frechet_distance
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.training import train
from dfcvae.vae import VAE

ALPHAS = (0.001, 0.004, 0.016)
PIXEL_WEIGHTS = (0.2, 0.5)
MIDDLE_ALPHA, MIDDLE_PIXEL_WEIGHT = 0.004, 0.5
LAYERS = {
    "vgg19_bn": [14, 24, 34, 43],
    "vgg16_bn": [
        "conv3_1",
        "bn3_3",
        "bn4_3",
        "conv5_2",
    ],  # the same places in a network with three convolutions a block
}


def grid(networks: dict[str, str]) -> dict[str, LossConfig]:
    """The losses to try, by name."""
    losses = {f"plain alpha={alpha}": LossConfig(alpha=alpha) for alpha in ALPHAS}
    for (arch, weights), alpha, pixel in product(networks.items(), ALPHAS, PIXEL_WEIGHTS):
        if alpha == MIDDLE_ALPHA or pixel == MIDDLE_PIXEL_WEIGHT:
            layers = LAYERS[arch]
            features = FeatureConfig("dfc", weights, arch, layers, (1 - pixel) / len(layers))
            losses[f"{arch} alpha={alpha} pixel={pixel}"] = LossConfig(
                alpha=alpha, pixel_weight=pixel, features=features
            )
    return losses


def measure(loss: LossConfig, args: argparse.Namespace, splits: Splits, judge: AttributeNetwork) -> dict[str, float]:
    """Train with one loss and measure it."""
    training = TrainingConfig(args.epochs, batch_size=args.batch_size, precision=args.precision)
    data = DataConfig(args.source, size=args.size)
    experiment = Experiment(data=data, loss=loss, training=training)
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        train(experiment, folder, data=splits, progress=False)
        vae = VAE.load(folder)
    minutes = (time.perf_counter() - start) / 60
    features = VGGFeatures(judge.arch, JUDGE_LAYERS, str(args.judge))
    measures = evaluate(vae, splits["val"], features=features, judge=judge)
    real = to_float(splits["val"].images)
    samples = vae.sample(len(real), generator=seeded_generator(0, Stream.EVALUATION))
    return measures | {
        "frechet_samples": frechet_distance(embed(judge.embed, real), embed(judge.embed, samples)),
        "minutes": minutes,
    }


def measure_all(losses: dict[str, LossConfig], args: argparse.Namespace) -> None:
    """Measure every loss that the JSON file does not hold yet."""
    splits = load_faces(DataConfig(args.source, size=args.size))
    judge = AttributeNetwork.load(args.judge)
    results = json.loads(args.out.read_text()) if args.out.is_file() else {}
    for name, loss in losses.items():
        if name not in results:
            results[name] = measure(loss, args, splits, judge)
            args.out.write_text(json.dumps(results, indent=1) + "\n")
            print(name, {key: round(value, 4) for key, value in results[name].items()}, flush=True)


def main() -> None:
    """Run the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="path of CelebA")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--features", action="append", default=[], metavar="ARCH=FILE")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--out", type=Path, default=Path("search.json"))
    args = parser.parse_args()
    measure_all(grid(dict(item.split("=", 1) for item in args.features)), args)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
