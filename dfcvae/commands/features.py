"""Commands that list, train and distil feature networks."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfcvae.commands.arguments import Size
from dfcvae.config import DataConfig, Distillation, FeatureTraining
from dfcvae.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from dfcvae.data import Faces
    from dfcvae.distil import Teacher
    from dfcvae.vae import VAE

DEFAULT_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
FITTING, MEASURED = 200, 100  # faces of the validation and of the test split
SIZE = 64  # pixels at which fidelity is measured


def features_train(*, data: DataConfig, training: FeatureTraining, out: Path = Path("features.safetensors")) -> None:
    """Train a feature network on the attributes of a data set, and report how well it predicts them.

    Args:
        data: the faces.
        training: the network, and how to train it.
        out: file of the weights (.safetensors).
    """
    from dfcvae.attribute_network import attribute_scores, scores_table, train_features
    from dfcvae.data import load_faces
    from dfcvae.device import pick_device

    _check_suffix(out)
    splits = load_faces(data)
    network = train_features(training, splits).to(pick_device())
    network.save(out)
    scores = attribute_scores(network.logits(splits["val"]), splits["val"].attributes, network.names)
    print(scores_table(scores))
    _finish(out, scores)


def features_distil(
    teachers: Sequence[str],
    *,
    data: DataConfig,
    student: Distillation,
    vae: str | None = None,
    out: Path = Path("student.safetensors"),
) -> None:
    """Distil a small feature network from a large one, on faces and disturbed faces, and report how faithful it is.

    Args:
        teachers: the large network: a weights file of a VGG, or imagenet (vgg19's); of several, the first with a tap
            counts.
        data: the faces.
        student: the network, and how to train it.
        vae: a model whose reconstructions are disturbed faces too.
        out: file of the weights (.safetensors).
    """
    from dfcvae.data import load_faces
    from dfcvae.device import environment, pick_device
    from dfcvae.distil import distil
    from dfcvae.evaluation.fidelity import fidelity, fidelity_table
    from dfcvae.features import VGGFeatures
    from dfcvae.vae import VAE
    from dfcvae.weights import layers_held

    _check_suffix(out)
    poolings = ("max", "average") if student.pooling == "both" else (student.pooling,)
    networks = {pooling: [teacher(weights, pooling, student) for weights in teachers] for pooling in poolings}
    reconstruct = partial(reconstruction, VAE.load(vae)) if vae else None
    splits = load_faces(replace(data, size=max(student.sizes)))
    distil(student, networks, splits["train"], reconstruct=reconstruct, device=pick_device()).save(out)
    record: dict[str, Any] = {"student": asdict(student), "environment": environment(), "fidelity": {}}
    for pooling, (first, *_) in networks.items():
        assert isinstance(first, VGGFeatures)
        taps = [tap for tap in first.names if tap in layers_held(student.arch, out)]
        copy = VGGFeatures(student.arch, taps, out, pooling)
        fitting, held_out = resized(splits["val"], FITTING), resized(splits["test"], MEASURED)
        record["fidelity"][pooling] = found = fidelity(copy, first.cpu().float(), fitting, held_out, taps)
        print(f"{pooling} pooling, held-out faces at {SIZE} px: unexplained / rank correlation / gradient cosine")
        print(fidelity_table(found))
    _finish(out, record)


def features_list(arch: str = "vgg19_bn", *, size: Size = 64) -> None:
    """List the layers of a VGG: what there is to choose from for a perceptual loss.

    Args:
        arch: vgg11, 13, 16 or 19, or with _bn.
    """
    from dfcvae.losses import PRESETS
    from dfcvae.vgg import layer_table

    table = layer_table(arch, size)
    tapped = PRESETS["dfc"].layers if arch == PRESETS["dfc"].arch else ()
    line = "{:<2}{:>5}  {:<8} {:<12} {:>8} {:>9} {:>6} {:>15} {:>17}"
    print(f"{arch} for images of {size}x{size} pixels")
    heads = ("index", "name", "type", "channels", "size", "stride", "receptive field", "numbers per image")
    print(line.format("", *heads))
    for row in table:
        side = f"{row.size}x{row.size}" if row.size else "none left"
        field, numbers = f"{row.receptive_field}x{row.receptive_field}", f"{row.numbers:,}"
        star = "*" if row.name in tapped else ""
        print(line.format(star, row.index, row.name, row.type, row.channels, side, row.stride, field, numbers))
    if tapped:
        print("* compared by the loss dfc")


def teacher(weights: str, pooling: str, config: Distillation) -> "Teacher":
    """A large network at the taps that it has."""
    from dfcvae.device import pick_device, pick_precision
    from dfcvae.features import VGGFeatures
    from dfcvae.weights import layers_held, vgg_arch

    arch = vgg_arch(weights)
    held = layers_held(arch, weights)
    taps = [tap for tap in config.taps or DEFAULT_TAPS if tap in held]
    if not taps:
        raise UserError(f"{weights} ends at {held[-1]} and has none of {', '.join(config.taps or DEFAULT_TAPS)}.")
    device = pick_device()
    network = VGGFeatures(arch, taps, weights, pooling).to(device)
    return network.bfloat16() if pick_precision(config.precision, device) == "bf16-mixed" else network


def reconstruction(vae: "VAE", x: "Tensor") -> "Tensor":
    """Reconstructions of images of any size, at the size of the VAE."""
    from torch.nn.functional import interpolate

    small = interpolate(x, size=vae.image_shape[1:], mode="bilinear", antialias=True).clamp(0, 1)
    return interpolate(vae.reconstruct(small), size=x.shape[-2:], mode="bilinear", antialias=True).clamp(0, 1)


def resized(faces: "Faces", count: int) -> "Tensor":
    """The first faces, uint8, at the size at which fidelity is measured."""
    from torch.nn.functional import interpolate

    from dfcvae.images import to_float, to_uint8

    images = to_float(faces.images[:count])
    return to_uint8(interpolate(images, size=(SIZE, SIZE), mode="bilinear", antialias=True))


def _check_suffix(out: Path) -> None:
    """Validate the name of a weights file, and make its folder, before hours of work."""
    if out.suffix != ".safetensors":
        raise UserError(f"--out: expected a name that ends in .safetensors, got {out.name!r}.")
    out.parent.mkdir(parents=True, exist_ok=True)


def _finish(out: Path, record: dict[str, Any]) -> None:
    out.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"Weights: {out} (use them with --loss.features.weights {out})")
