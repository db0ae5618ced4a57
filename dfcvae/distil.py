"""Distillation: a small feature network that responds to faces, and to their distortions, like a large one.

A loss acts through its gradient, so the student learns more than its teacher's features: at every tap, the gradient of
its feature distance with respect to the image is aligned with the teacher's.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, conv2d, cosine_similarity, interpolate
from tqdm import tqdm

from dfcvae.checkpoint import write_tensors
from dfcvae.config import Distillation
from dfcvae.data import Faces
from dfcvae.data.batches import take
from dfcvae.device import keep_freed_memory, pick_precision
from dfcvae.disturbances import DISTURBANCES, disturb
from dfcvae.errors import UserError
from dfcvae.images import normalize_imagenet, to_float, to_rgb
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vgg import layer_names, resolve_layers, vgg_layers
from dfcvae.weights import load_vgg_weights

Taps = Mapping[str, Tensor]
Teacher = Callable[[Tensor], Taps]
"""Features (N, C_l, H_l, W_l) by layer of images in [0, 1]; a `VGGFeatures` or any other such function."""

SCRATCH = 3  # without initial weights, the first third of the steps uses batch statistics and matches no gradients
LARGEST_NORM = 1.0  # of the gradient in a step
THINNED = 16  # features are compared at up to this many places along a side
FITTED, RIDGE = 64, 1e-4  # faces, and ridge penalty as a fraction of the mean square, to initialise a linear map
RISE = 0.1  # fraction of the steps in which the learning rate rises
FLOOR = 1e-3  # added to a distance, as a fraction of the mean: some disturbances change nothing


class Student(nn.Module):
    """A torchvision VGG up to its layer ``last``, as a trainable module; saved in half precision.

    ``width`` is a factor of every channel count; the attribute ``average`` is whether average pooling replaces max
    pooling.
    """

    def __init__(self, arch: str, width: float, last: int | str):
        super().__init__()
        self.arch, self.width, self.average = arch, width, False
        depth = 1 + layer_names(arch).index(resolve_layers(arch, [last])[0])
        self.layers = nn.ModuleDict(dict(list(vgg_layers(arch, width).items())[:depth]))
        for module in self.layers.values():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The output of every layer but the convolutions before a batch norm, for images (N, 3 or 1, H, W) in [0, 1].

        In eval mode a batch norm is folded into the convolution before it, as in the network used as a loss.
        """
        outputs, h, convolution = {}, normalize_imagenet(to_rgb(x)), None
        for name, layer in self.layers.items():
            if isinstance(layer, nn.Conv2d) and self.arch.endswith("_bn"):
                convolution = layer
                continue
            if isinstance(layer, nn.BatchNorm2d):
                assert convolution is not None
                h = layer(convolution(h)) if self.training else conv2d(h, *_folded(convolution, layer), padding=1)
            elif self.average and isinstance(layer, nn.MaxPool2d):
                h = avg_pool2d(h, 2)
            else:
                h = layer(h)
            outputs[name] = h
        return outputs

    def start_from(self, file: str | Path) -> None:
        """Load the weights of a file."""
        state, width = load_vgg_weights(self.arch, file, len(self.layers))
        if width != self.width:
            raise UserError(f"{file} is {width:g} times as wide as {self.arch}; set width to that, not {self.width:g}.")
        for index, layer in enumerate(self.layers.values()):
            layer.load_state_dict({key: state[f"{index}.{key}"] for key in _constants(layer)}, strict=False)

    def save(self, path: str | Path, about: Mapping[str, str] | None = None) -> Path:
        """Write safetensors in float16 that `VGGFeatures` loads, with further metadata ``about`` them."""
        tensors = {
            f"features.{index}.{key}": layer.state_dict()[key].half()
            for index, layer in enumerate(self.layers.values())
            for key in _constants(layer)
        }
        return write_tensors(path, tensors, {"arch": self.arch, "width": str(self.width)} | dict(about or {}))


def distil(
    config: Distillation,
    teachers: Mapping[str, Sequence[Teacher]],
    faces: Faces,
    *,
    reconstruct: Callable[[Tensor], Tensor] | None = None,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> Student:
    """Train a student on faces x and disturbed faces y.

    With the features phi_l of a teacher and psi_l of the student at a tap l, and their distances ``d_phi = mean
    (phi_l(y) - phi_l(x))^2`` and ``d_psi`` likewise, the loss is the sum over taps of

        |A_l psi_l - phi_l|^2 / |phi_l - mean phi_l|^2
        + w (1 - cos(d d_psi / dy, d d_phi / dy) + var(log d_psi / d_phi))

    with 1x1 convolutions A_l that are discarded: Romero et al. 2015, "FitNets" (arXiv 1412.6550), and Czarnecki et
    al. 2017, "Sobolev Training for Neural Networks" (arXiv 1706.04859); the second line at one tap in each step. For
    full faces with attributes, a linear head also predicts these from the last layer (binary cross entropy).

    Args:
        config: the student and its training; a UserError for a missing layer or pooling.
        teachers: one or more for each pooling (``"max"``, ``"average"``); if several provide a tap, the first is used.
        faces: uint8, at least as large as the largest of ``config.sizes``, or a UserError.
        reconstruct: maps images in [0, 1], on the CPU, to a VAE's reconstructions: disturbed faces too.
        device: where the teachers are and the student is trained, which is returned in eval mode.
    """
    side = faces.images.shape[-1]
    if not 32 <= min(config.sizes) <= max(config.sizes) <= side:
        raise UserError(f"sizes: expected numbers from 32 to the faces' {side} pixels, got {config.sizes}.")
    keep_freed_memory()
    torch.manual_seed(seeded_generator(config.seed, Stream.WEIGHTS).initial_seed())
    device = torch.device(device)
    student = Student(config.arch, config.width, config.last).to(device)
    if config.initial:
        student.start_from(config.initial)
    kinds = list(DISTURBANCES.values())
    if reconstruct is not None:
        kinds.append(lambda x, strength, generator: x + strength.view(-1, 1, 1, 1) * (reconstruct(x) - x))
    poolings = ["max", "average"] if config.pooling == "both" else [config.pooling]
    maps, head = _throw_away(config, student, _combined_teacher(teachers, poolings[0]), faces)
    gradients = config.gradients or list(maps)
    bfloat16 = pick_precision(config.precision, device) == "bf16-mixed"
    trained = [*student.parameters(), *maps.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(trained, config.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=max(config.steps, 11), pct_start=RISE
    )
    bar = tqdm(range(config.steps), "distilling", disable=not progress or None, mininterval=1)
    for step in bar:
        generator = seeded_generator(config.seed, Stream.ORDER, step)
        x, attributes = _draw(config, faces, step, generator)
        order = torch.randperm(len(kinds), generator=generator).tolist()  # a part of the batch for each
        parts = zip(x.tensor_split(len(kinds)), order, strict=True)
        y = torch.cat([disturb(part, kinds[kind], generator) for part, kind in parts])
        pooling = poolings[step % len(poolings)]
        from_scratch = config.initial is None and step < config.steps // SCRATCH
        student.average = pooling == "average"
        student.train(from_scratch)
        if not from_scratch:  # where channels last is faster; batch statistics are inaccurate in it on a CPU
            student.to(memory_format=torch.channels_last)
            x, y = (images.contiguous(memory_format=torch.channels_last) for images in (x, y))
        x, y = x.to(device), y.to(device)
        weights = {} if from_scratch else {gradients[step // len(poolings) % len(gradients)]: config.gradient_weight}
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            terms, seen = _terms(student, maps, _combined_teacher(teachers, pooling), x, y, weights)
        if attributes is not None:
            logits = head(seen.float().relu().mean(dim=(2, 3)))
            entropy = binary_cross_entropy_with_logits(logits, attributes.to(device).repeat(2, 1).float())
            terms["attributes"] = config.attribute_weight * entropy
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(trained, LARGEST_NORM, error_if_nonfinite=True)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 20 == 0:
            bar.set_postfix({name: f"{value.item():.3f}" for name, value in terms.items()}, refresh=False)
    return student.eval()


def _terms(
    student: Student, maps: nn.ModuleDict, teacher: Teacher, x: Tensor, y: Tensor, weights: Mapping[str, float]
) -> tuple[dict[str, Tensor], Tensor]:
    """The loss by tap, and the student's last layer for x and y."""
    y.requires_grad_(bool(weights))
    outputs = student(torch.cat([x, y]))
    with torch.no_grad():
        phi_x = teacher(x)
    phi_y = teacher(y)
    terms = {}
    for tap, convolution in maps.items():
        thin = _thinned(outputs[tap].shape[-1])
        psi, phi = outputs[tap], torch.cat([phi_x[tap][thin], phi_y[tap].detach()[thin]]).float()
        residual = (convolution(psi[thin]).float() - phi).square().mean()
        terms[tap] = residual / (phi - phi.mean(dim=(0, 2, 3), keepdim=True)).square().mean()
        if tap in weights:
            d_psi, d_phi = _distance(*psi.chunk(2)), _distance(phi_x[tap], phi_y[tap])
            (wanted,) = torch.autograd.grad(d_phi.sum(), y, retain_graph=True)
            (found,) = torch.autograd.grad(d_psi.sum(), y, create_graph=True)
            cosine = cosine_similarity(found.flatten(1), wanted.flatten(1)).mean()
            terms[tap] = terms[tap] + weights[tap] * (1 - cosine + _log(d_psi).sub(_log(d_phi.detach())).var())
    return terms, outputs[list(student.layers)[-1]]


def _thinned(size: int) -> tuple[Any, ...]:
    """Positions on a grid of at most 16 x 16: neighbouring features of an image are very similar."""
    stride = max(1, size // THINNED)
    down, right = torch.randint(stride, (2,)).tolist()
    return ..., slice(down, None, stride), slice(right, None, stride)


def _distance(psi_x: Tensor, psi_y: Tensor) -> Tensor:
    return (psi_y.float() - psi_x.float()).square().mean(dim=(1, 2, 3))


def _log(distance: Tensor) -> Tensor:
    return (distance + FLOOR * distance.detach().mean()).log()


def _combined_teacher(teachers: Mapping[str, Sequence[Teacher]], pooling: str) -> Teacher:
    if not teachers.get(pooling):
        raise UserError(f"Distillation with {pooling} pooling needs a teacher with that pooling, and none is given.")
    return lambda x: {name: value for teach in reversed(teachers[pooling]) for name, value in teach(x).items()}


def _throw_away(
    config: Distillation, student: Student, teacher: Teacher, faces: Faces
) -> tuple[nn.ModuleDict, nn.Linear]:
    """The 1x1 convolutions from the student's taps to the teacher's, and the attributes' head."""
    device = next(student.parameters()).device
    x = to_float(faces.images[:FITTED]).to(device)
    x = interpolate(x, size=config.patch, mode="bilinear", antialias=True).clamp(0, 1)
    with torch.no_grad():
        given, outputs = teacher(x), student.eval()(x)
    taps = config.taps or [name for name in given if name in outputs]
    missing = [tap for tap in taps if tap not in given or tap not in outputs]
    if missing or not taps:
        raise UserError(
            f"Teacher and student have no {', '.join(missing) or 'layer'} in common; the teacher has "
            f"{', '.join(given)}, and the student ends at {list(outputs)[-1]}."
        )
    maps = {tap: _least_squares(outputs[tap], given[tap].float()) for tap in taps}
    channels = list(outputs.values())[-1].shape[1]
    return nn.ModuleDict(maps).to(device), nn.Linear(channels, max(1, len(faces.names)), device=device)


def _least_squares(psi: Tensor, phi: Tensor) -> nn.Conv2d:
    """The least-squares 1x1 convolution from psi to phi; training from a poor one would harm the student."""
    columns, wanted = (features.cpu().transpose(0, 1).flatten(1).T for features in (psi, phi))  # (positions, channels)
    columns = torch.cat([columns, torch.ones_like(columns[:, :1])], dim=1)
    square = columns.T @ columns + RIDGE * columns.square().mean() * len(columns) * torch.eye(columns.shape[1])
    solution = torch.linalg.solve(square, columns.T @ wanted)
    convolution = nn.Conv2d(psi.shape[1], phi.shape[1], 1)
    with torch.no_grad():
        convolution.weight.copy_(solution[:-1].T[:, :, None, None])
        convolution.bias.copy_(solution[-1])  # type: ignore[union-attr]
    return convolution


def _draw(config: Distillation, faces: Faces, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Faces of one size, or patches of them, and the attributes if the faces are uncropped and have any."""
    size = config.sizes[int(torch.randint(len(config.sizes), (1,), generator=generator))]
    side = min(size, config.patch)
    n = config.batch_size * config.patch // side
    rows = torch.randint(len(faces), (n,), generator=generator)
    x = to_float(take(faces.images, rows))
    x = x.flip(-1) if torch.rand(1, generator=generator) < 0.5 else x
    x = interpolate(x, size=(size, size), mode="bilinear", antialias=True).clamp(0, 1)
    down, right = torch.randint(size - side + 1, (2,), generator=generator).tolist()
    uncropped = size == side and bool(faces.names) and config.attribute_weight > 0
    return x[..., down : down + side, right : right + side], take(faces.attributes, rows) if uncropped else None


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of ``norm(convolution(x))`` with running statistics: ``s (w x + b - m) + c``."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert convolution.bias is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return convolution.weight * scale.view(-1, 1, 1, 1), (convolution.bias - norm.running_mean) * scale + norm.bias


def _constants(layer: nn.Module) -> list[str]:
    return [key for key in layer.state_dict() if key != "num_batches_tracked"]
