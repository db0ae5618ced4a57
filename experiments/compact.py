"""Distil the shipped feature network, dfcvae/pretrained/compact.safetensors, and measure its fidelity.

    python experiments/compact.py CELEBA OUT --exact VGG19.safetensors --approximate VGG19-16X.safetensors [--vae MODEL]

Two teachers: ImageNet's VGG-19 up to conv3_1 (EXACT: torchvision's names, any file with these layers), and one
with a sixteenth of the parameters (APPROXIMATE: Wang et al. 2020, "Collaborative Distillation for Ultra-Resolution
Universal Style Transfer", arXiv 2003.08436; MIT licence) for relu4_1 and relu5_1. The second also
initialises the student: its convolutions have the same shapes, and the batch norms of vgg19_bn start as identities.

The shipped one: 6,000 steps, celeba-64-plain as --vae, 93 minutes on one busy core of an AMD EPYC with AVX-512 bf16.
If OUT exists, only its fidelity is measured.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad

from dfcvae import VAE, VGGFeatures
from dfcvae.commands.features import FITTING, MEASURED, reconstruction, resized
from dfcvae.config import DataConfig, Distillation
from dfcvae.data import Splits, load_faces
from dfcvae.device import environment
from dfcvae.distil import Student, Teacher, distil
from dfcvae.evaluation.fidelity import fidelity, fidelity_table
from dfcvae.images import IMAGENET_MEAN, IMAGENET_STD
from dfcvae.vgg import layer_names

EXACT = ("relu1_1", "relu2_1", "relu3_1")
APPROXIMATE = ("relu4_1", "relu5_1")
LAST = "bn5_2"  # after conv5_2, the deepest tap of the popular DFC-VAE
DEPTHS = (2, 2, 4, 4, 1)  # convolutions of the approximate teacher by block
GRADIENTS = ["relu3_1", "relu2_1", "relu3_1", "relu1_1", "relu3_1", "relu2_1", "relu4_1", "relu5_1"]


class ApproximateVGG:
    """The teacher of a sixteenth of the size: images in [0, 1] to what it takes for VGG-19's features at its taps."""

    def __init__(self, file: Path, average: bool):
        self.weights = {name: tensor.bfloat16() for name, tensor in load_file(file).items()}
        self.pool = avg_pool2d if average else max_pool2d

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        outputs, h = {}, self._convolve(x.bfloat16(), "conv0")
        for block, depth in enumerate(DEPTHS, start=1):
            for number in range(1, depth + 1):
                h = self._convolve(pad(h, (1,) * 4, mode="reflect"), f"conv{block}{number}").relu()
                if f"relu{block}_{number}" in APPROXIMATE:
                    outputs[f"relu{block}_{number}"] = self._convolve(h, f"conv{block}{number}_aux").relu()
            h = self.pool(h, 2)
        return outputs

    def _convolve(self, h: Tensor, name: str) -> Tensor:
        return conv2d(h, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])


def initial(file: Path, out: Path) -> Path:
    """The approximate teacher's convolutions as a vgg19_bn for normalised images."""
    torch.manual_seed(0)  # for conv5_2, which the teacher lacks
    weights, student = load_file(file), Student("vgg19_bn", 0.25, LAST)
    state, names = {}, layer_names("vgg19_bn")
    for name, layer in student.layers.items():
        prefix, theirs = f"features.{names.index(name)}", name.replace("_", "")
        tensors = {key: value.clone() for key, value in layer.state_dict().items()}
        if f"{theirs}.weight" in weights:
            tensors = {"weight": weights[f"{theirs}.weight"], "bias": weights[f"{theirs}.bias"]}
        if name == "conv1_1":  # with the colour transform before it, and without our normalisation
            colour, std = weights["conv0.weight"][:, :, 0, 0], torch.tensor(IMAGENET_STD)
            offset = colour @ torch.tensor(IMAGENET_MEAN) + weights["conv0.bias"]
            tensors["bias"] = tensors["bias"] + tensors["weight"].sum(dim=(2, 3)) @ offset
            tensors["weight"] = torch.einsum("oikl,ij->ojkl", tensors["weight"], colour * std)
        state |= {f"{prefix}.{key}": value.contiguous() for key, value in tensors.items() if value.dim()}
    save_file(state, out)
    return out


def teachers(arguments: argparse.Namespace, pooling: str) -> list[Teacher]:
    """The exact one first: it counts where both give a tap."""
    exact = VGGFeatures("vgg19", EXACT, arguments.exact, pooling).bfloat16()
    return [exact, ApproximateVGG(arguments.approximate, pooling == "average")]


def train(arguments: argparse.Namespace, splits: Splits) -> None:
    """Distil the student into the file OUT."""
    start = initial(arguments.approximate, arguments.out.with_name("initial.safetensors"))
    config = Distillation(initial=str(start), last=LAST, steps=arguments.steps, learning_rate=6e-4, gradients=GRADIENTS)
    both = {pooling: teachers(arguments, pooling) for pooling in ("max", "average")}
    reconstruct = partial(reconstruction, VAE.load(arguments.vae)) if arguments.vae else None
    student = distil(config, both, splits["train"], reconstruct=reconstruct)
    student.save(arguments.out, {"teacher": "VGG-19, ImageNet", "data": "CelebA, 17,000 faces"})


def measure(arguments: argparse.Namespace, splits: Splits) -> None:
    """Print the fidelity of OUT to the exact teacher, and write it beside OUT."""
    record: dict[str, Any] = {"environment": environment(), "faces": {"fitted": FITTING, "measured": MEASURED}}
    for pooling in ("max", "average"):
        ours = VGGFeatures("vgg19_bn", EXACT, arguments.out, pooling)
        theirs = VGGFeatures("vgg19", EXACT, arguments.exact, pooling)
        faces = (resized(splits[name], count) for name, count in (("val", FITTING), ("test", MEASURED)))
        record[pooling] = found = fidelity(ours, theirs, *faces, EXACT, progress=True)
        print(f"{pooling} pooling: unexplained / rank correlation / gradient cosine\n{fidelity_table(found)}")
    arguments.out.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    """Distil, unless OUT is there, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("celeba")
    parser.add_argument("out", type=Path)
    parser.add_argument("--exact", type=Path, required=True)
    parser.add_argument("--approximate", type=Path, required=True)
    parser.add_argument("--vae", help="a VAE whose reconstructions are used as distorted faces")
    parser.add_argument("--steps", type=int, default=6_000)
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    splits = load_faces(DataConfig(arguments.celeba, 128))
    if not arguments.out.is_file():
        train(arguments, splits)
    measure(arguments, splits)


if __name__ == "__main__":
    main()
