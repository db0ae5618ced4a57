"""The command that distils feature networks."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from dfcvae.data import Faces, load_faces
from dfcvae.device import environment, pick_device, pick_precision
from dfcvae.distil import Teacher, distil
from dfcvae.errors import UserError
from dfcvae.evaluation.fidelity import fidelity, fidelity_table
from dfcvae.feature_config import Distillation
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float, to_uint8
from dfcvae.vae import VAE
from dfcvae.weights import is_file_or_module, layers_held, vgg_arch

DEFAULT_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
FITTING, MEASURED = 200, 100  # faces of the validation and of the test split
SIZE = 64  # pixels at which fidelity is measured


def features_distil(arguments: Any) -> None:
    """Distil a student, save it, and report how faithful it is."""
    out, config = arguments.out, arguments.student
    if out.suffix != ".safetensors":
        raise UserError(f"--out: expected a name that ends in .safetensors, got {out.name!r}.")
    teachers = {
        pooling: [teacher(weights, pooling, config) for weights in arguments.teachers]
        for pooling in (("max", "average") if config.pooling == "both" else (config.pooling,))
    }
    device = pick_device()
    reconstruct = reconstruction(VAE.load(arguments.vae)) if arguments.vae else None
    splits = load_faces(replace(arguments.data, size=max(config.sizes)))
    out.parent.mkdir(parents=True, exist_ok=True)
    student = distil(config, teachers, splits["train"], reconstruct=reconstruct, device=device)
    student.save(out)
    record: dict[str, Any] = {"student": asdict(config), "environment": environment(), "fidelity": {}}
    for pooling, (first, *_) in teachers.items():
        assert isinstance(first, VGGFeatures)
        taps = [tap for tap in first.names if tap in layers_held(config.arch, out)]
        copy = VGGFeatures(config.arch, taps, out, pooling)
        fitting, held_out = resized(splits["val"], FITTING), resized(splits["test"], MEASURED)
        record["fidelity"][pooling] = found = fidelity(copy, first.cpu().float(), fitting, held_out, taps)
        print(f"{pooling} pooling, held-out faces at {SIZE} px: unexplained / rank correlation / gradient cosine")
        print(fidelity_table(found))
    out.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"Weights: {out} (use them with --loss.features.weights {out})")


def teacher(weights: str, pooling: str, config: Distillation) -> Teacher:
    """A large network at the taps that it has."""
    arch = vgg_arch(weights) if is_file_or_module(weights) else "vgg19"
    held = layers_held(arch, weights)
    taps = [tap for tap in config.taps or DEFAULT_TAPS if tap in held]
    if not taps:
        raise UserError(f"{weights} ends at {held[-1]} and has none of {', '.join(config.taps or DEFAULT_TAPS)}.")
    device = pick_device()
    network = VGGFeatures(arch, taps, weights, pooling).to(device)
    return network.bfloat16() if pick_precision(config.precision, device) == "bf16-mixed" else network


def reconstruction(vae: VAE) -> Callable[[Tensor], Tensor]:
    """Reconstructions of images of any size, at the size of the VAE."""
    size = vae.image_shape[-1]

    def reconstruct(x: Tensor) -> Tensor:
        small = interpolate(x, size=(size, size), mode="bilinear", antialias=True).clamp(0, 1)
        return interpolate(vae.reconstruct(small), size=x.shape[-2:], mode="bilinear", antialias=True).clamp(0, 1)

    return reconstruct


def resized(faces: Faces, count: int) -> Tensor:
    """The first faces, uint8, at the size at which fidelity is measured."""
    images = to_float(faces.images[:count])
    return to_uint8(interpolate(images, size=(SIZE, SIZE), mode="bilinear", antialias=True))
