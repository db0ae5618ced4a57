"""Judges: frozen networks of any kind that compare images, for example by identity (docs/evaluation.md)."""

import hashlib
import re
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dfcvae.errors import UserError, nearest
from dfcvae.fields import FINITE, Range, check_fields, read_yaml
from dfcvae.images import to_rgb
from dfcvae.weights import read_state_dict, verified_imagenet_file

TINY = sys.float_info.min
AT_ONCE = 25  # images of 227 pixels, whose largest layers take 80 MB
STRANGERS = "_strangers"  # ends the names of measures of two different people
COSINE, DISTANCE = "cosine", "distance"
IMAGENET = "imagenet"
NAME, NAME_RULE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,19}"), "up to 20 letters, digits, - or _, a letter first"
# names of other measures, which the names of a judge's measures must not repeat
RESERVED = ("judge", "inception", "features", "samples", "samples_gmm", "reconstructions", "floor", "lpips")
REQUIRED = ("name", "size", "channels", "range", "mean", "std")
Side = Annotated[int, Range(1, 4096, "an integer from 1 to 4096")]
Finite = Annotated[float, Range(-FINITE, FINITE, "a finite number")]
Above = Annotated[float, Range(TINY, FINITE, "a number above 0")]
Fraction = Annotated[float, Range(TINY, 1, "a fraction above 0 and at most 1")]

Device = torch.device | str
Seen = tuple[Tensor, dict[str, Tensor]]  # the embedding, and activations by layer
Run = Callable[[Tensor], dict[str, Tensor]]  # prepared images (N, 3, S, S) to the embedding and activations by name


@dataclass(frozen=True)
class JudgeFile:
    """A judge as its YAML file describes it; docs/evaluation.md explains the fields. Every value is checked."""

    name: str  # prefix of its measures: NAME/cosine
    size: Side  # pixels of a side of the images that the network takes
    channels: Literal["RGB", "BGR"]  # the order in which it takes them
    range: Literal[1, 255]  # value of white
    mean: tuple[Finite, Finite, Finite]  # subtracted, in the order of `channels` and on the scale of `range`
    std: tuple[Above, Above, Above]  # divides afterwards
    network: str | None = None  # a classification network of torchvision
    weights: str | None = None  # its state dict, or imagenet
    onnx: str | None = None  # a file, instead of both
    crop: Fraction | None = None  # fraction of each side to keep, around the centre
    layers: Sequence[str] = ()  # modules or outputs to compare
    embedding: str | None = None  # module or output; default: the input of the last linear layer, the first output
    folder: Path = Path()  # where relative paths start

    def __post_init__(self) -> None:
        check_fields(self)
        rules = [
            ("name", NAME.fullmatch(self.name), NAME_RULE),
            ("name", self.name not in RESERVED, f"none of {', '.join(RESERVED)}"),
            ("network", (self.network is None) != (self.onnx is None), "either network (torchvision) or onnx (a file)"),
            ("weights", (self.network is None) == (self.weights is None), "a file or imagenet, with network only"),
        ]
        for field, valid, expected in rules:
            if not valid:
                raise UserError(f"{field}: expected {expected}, got {getattr(self, field)!r}.")
        if self.network is not None:
            from torchvision import models

            names = models.list_models(module=models)
            if self.network not in names:
                near = nearest(self.network, names)
                raise UserError(f"network: {self.network!r} is not a classification network of torchvision{near}.")

    @classmethod
    def of(cls, plain: Any, folder: Path) -> "JudgeFile":
        """From the fields of a YAML file in a folder; null is the default."""
        known = [field.name for field in fields(cls) if field.name != "folder"]
        if not isinstance(plain, dict):
            raise UserError(f"expected fields (name: value), such as {', '.join(REQUIRED)}.")
        for name in plain:
            if name not in known:
                raise UserError(f"{name}: unknown field{nearest(name, known)}; the fields are {', '.join(known)}.")
        given = {name: value for name, value in plain.items() if value is not None}
        for name in REQUIRED:
            if name not in given:
                raise UserError(f"{name}: missing; every judge needs {', '.join(REQUIRED)}.")
        return cls(**given, folder=folder)

    def file(self) -> Path:
        """The ONNX or weights file; ImageNet weights are downloaded if missing."""
        if self.weights == IMAGENET:
            return verified_imagenet_file(str(self.network))
        field, name = ("onnx", self.onnx) if self.onnx else ("weights", self.weights)
        file = self.folder / Path(str(name)).expanduser()
        if not file.is_file():
            raise UserError(f"{field}: no file at {file}; paths are relative to the YAML file.")
        return file


class NetworkJudge:
    """A frozen network that compares images, which may be on any device.

    A UserError if the network that ``about`` describes cannot be loaded, or does not take such images.
    """

    def __init__(self, about: JudgeFile, device: Device = "cpu"):
        self.about, self.name, self.device = about, about.name, torch.device(device)
        self.file = about.file()
        self.sha256 = hashlib.sha256(self.file.read_bytes()).hexdigest()
        network = _torchvision_network if about.onnx is None else _onnx_network
        self.run, self.embedding = network(about, self.file, self.device)
        try:  # before hours of work
            _, layers = self.see(torch.zeros(1, 3, about.size, about.size))
        except RuntimeError as error:
            raise UserError(f"size: {about.network} does not take {about.size} pixels: {_line(error)}") from error
        for name, activations in layers.items():
            if activations.dim() not in (2, 4):
                raise UserError(f"layers: expected N x C x H x W or N x C, got {list(activations.shape)} from {name}.")

    @classmethod
    def load(cls, path: str | Path, device: Device = "cpu") -> "NetworkJudge":
        """From its YAML file; experiments/judges holds examples."""
        path = Path(path)
        plain = read_yaml(path, "a judge description as in experiments/judges")
        try:
            return cls(JudgeFile.of(plain, path.parent), device)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def prepare(self, images: Tensor) -> Tensor:
        """Images (N, 3 or 1, H, W) in [0, 1] as the network takes them, (N, 3, S, S)."""
        about, x = self.about, to_rgb(images).float()
        if about.crop is not None:
            height, width = (max(1, round(about.crop * side)) for side in x.shape[-2:])
            top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
            x = x[..., top : top + height, left : left + width]
        x = functional.interpolate(x, (about.size, about.size), mode="bilinear", antialias=True)
        x = x.flip(1) if about.channels == "BGR" else x
        mean, std = (x.new_tensor(values).view(1, 3, 1, 1) for values in (about.mean, about.std))
        return (about.range * x - mean) / std

    @torch.no_grad()
    def see(self, images: Tensor) -> Seen:
        """Embeddings (N, F) and activations by layer, on the device, of images in [0, 1]."""
        seen = self.run(self.prepare(images.to(self.device)))
        embedding, layers = seen[self.embedding], {name: seen[name] for name in self.about.layers}
        if embedding.dim() == 4:  # (N, F, H, W)
            return embedding.mean(dim=(2, 3)), layers
        return embedding.mean(dim=1) if embedding.dim() == 3 else embedding.flatten(1), layers  # tokens (N, T, F)

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings (N, F) of images (N, 3 or 1, H, W) in [0, 1]."""
        return torch.cat([self.see(part)[0] for part in images.split(AT_ONCE)])

    def compare(self, x_hat: Tensor, x: Tensor, strangers: Tensor) -> dict[str, Tensor]:
        """Measures (N,) of reconstructions and originals, and of originals and other people, by name.

        ``NAME/cosine`` is the cosine of their embeddings; ``NAME/distance``, where layers are named, is ``sum_l mean_p
        |u_l(x_hat)_p - u_l(x)_p|^2`` over layers l and places p, with u the activations divided by their length over
        the channels: the distance of LPIPS without its fitted weights (Zhang et al. 2018, equation 1, all w = 1). The
        same with ``_strangers`` at the end is measured between ``x`` and ``strangers``.
        """
        rows: dict[str, list[Tensor]] = {}
        for parts in zip(*(images.split(AT_ONCE) for images in (x_hat, x, strangers)), strict=True):
            output, original, stranger = map(self.see, parts)
            for ending, other in (("", output), (STRANGERS, stranger)):
                for name, value in _alike(other, original).items():
                    rows.setdefault(f"{self.name}/{name}{ending}", []).append(value)
        return {name: torch.cat(values) for name, values in rows.items()}

    def card(self) -> dict[str, Any]:
        """The entries of the protocol: what one must know to compare its numbers, without any path."""
        about = self.about
        crop = "full image" if about.crop is None else f"central {about.crop:g} of each side"
        numbers = [f"{name} {', '.join(f'{v:g}' for v in getattr(about, name))}" for name in ("mean", "std")]
        pixels = f"{about.size}x{about.size} antialiased bilinear, {about.channels}, 0..{about.range}"
        return {
            "network": f"torchvision {about.network}" if about.network else f"ONNX {self.file.name}",
            "sha256": self.sha256,
            "input": "; ".join([crop, pixels, *numbers]),
            "embedding": f"{'output ' if about.onnx else ''}{self.embedding}, mean over places",
            "layers": list(about.layers),
        }


def stranger_of(rows: Tensor, images: int) -> Tensor:
    """Another image for each: the one a third of the set later, never the image itself."""
    return (rows + max(1, images // 3)) % images


def _alike(a: Seen, b: Seen) -> dict[str, Tensor]:
    values, distances = {COSINE: functional.cosine_similarity(a[0], b[0], dim=1)}, []
    for name in a[1]:  # activations (N, C, H, W) or (N, C)
        u, v = (functional.normalize(h.float(), dim=1, eps=1e-10) for h in (a[1][name], b[1][name]))
        distances.append((u - v).square().sum(dim=1).reshape(len(u), -1).mean(dim=1))
    return values | ({DISTANCE: torch.stack(distances).sum(dim=0)} if distances else {})


def _torchvision_network(about: JudgeFile, weights: Path, device: Device) -> tuple[Run, str]:
    """A classification network of torchvision, and the name of its embedding.

    A captured layer is a copy of the output of that very module, made by a hook: later operations may work in place,
    which torchvision's own feature extractor does not prevent.
    """
    network, head = _loaded(str(about.network), weights)
    network.to(device).to(memory_format=torch.channels_last)  # twice as fast on a CPU
    modules = {name: module for name, module in network.named_modules() if name}
    _check_names(about, modules, f"{about.network} has no module")
    embedding = about.embedding or f"input of {head}"
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str, output: Any) -> None:
        seen.setdefault(name, []).append(output.clone() if isinstance(output, Tensor) else output)

    for name in {*about.layers, about.embedding} - {None}:
        modules[name].register_forward_hook(lambda _, __, output, name=name: keep(name, output))
    if about.embedding is None:
        modules[head].register_forward_pre_hook(lambda _, inputs: keep(embedding, inputs[0]))

    def run(x: Tensor) -> dict[str, Tensor]:
        seen.clear()
        network(x.contiguous(memory_format=torch.channels_last))
        for name in (*about.layers, embedding):
            outputs = seen.get(name, [])
            if len(outputs) != 1 or not isinstance(outputs[0], Tensor):
                raise UserError(f"layers: {name!r} does not give one tensor in a pass; name another module.")
        return {name: output for name, (output,) in seen.items()}

    return run, embedding


def _loaded(arch: str, weights: Path) -> tuple[nn.Module, str]:
    """The network with its weights, frozen, and the name of the layer that classifies."""
    from torchvision.models import get_model

    state = {key.removeprefix("module."): value for key, value in read_state_dict(weights).items()}
    # random initial weights must not change the numbers that others draw
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of initial weights, which are replaced
        network = get_model(arch, weights=None)
        head = [name for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))][-1]
        ours = network.state_dict()[f"{head}.weight"]
        theirs = state.get(f"{head}.weight", ours)
        if theirs.shape[1:] == ours.shape[1:] and len(theirs) != len(ours):
            network = get_model(arch, weights=None, num_classes=len(theirs))
    try:
        network.load_state_dict({key: v.float() if v.is_floating_point() else v for key, v in state.items()})
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise UserError(f"weights: {weights} does not hold {arch}: {lines[min(1, len(lines) - 1)]}") from error
    return network.eval().requires_grad_(False), head


def _onnx_network(about: JudgeFile, file: Path, device: Device) -> tuple[Run, str]:
    """A network in an ONNX file, run by onnxruntime, and the name of its embedding."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError('onnx: onnxruntime is not installed; run pip install -e ".[onnx]".') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    cuda = ["CUDAExecutionProvider"] * (torch.device(device).type == "cuda")
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=[*cuda, "CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has many kinds
        raise UserError(f"onnx: onnxruntime cannot load {file}: {_line(error)}") from error
    inputs, outputs = session.get_inputs(), [output.name for output in session.get_outputs()]
    if [len(one.shape) for one in inputs] != [4]:
        raise UserError(f"onnx: expected one input of N x 3 x H x W, got shapes {[one.shape for one in inputs]}.")
    _check_names(about, outputs, f"{file.name} (outputs: {', '.join(outputs)}) has no output")
    embedding, batch = about.embedding or outputs[0], inputs[0].shape[0]
    names = list(dict.fromkeys([embedding, *about.layers]))

    def run(x: Tensor) -> dict[str, Tensor]:
        size, rows = batch if isinstance(batch, int) and batch > 0 else len(x), []  # some files fix the batch
        for part in x.split(size):
            padded = torch.cat([part, part[-1:].expand(size - len(part), -1, -1, -1)]).cpu().contiguous()
            try:
                found = session.run(names, {inputs[0].name: padded.numpy()})
            except Exception as error:
                raise UserError(f"onnx: {file} does not take images of {list(padded.shape)}: {_line(error)}") from error
            if any(len(output) != size for output in found):
                raise UserError(f"onnx: expected a row for each image in the outputs {', '.join(names)}.")
            rows.append([torch.from_numpy(output)[: len(part)].float() for output in found])
        return {name: torch.cat(parts).to(x.device) for name, parts in zip(names, zip(*rows, strict=True), strict=True)}

    return run, embedding


def _check_names(about: JudgeFile, valid: Collection[str], missing: str) -> None:
    for field, names in {"layers": about.layers, "embedding": (about.embedding,)}.items():
        for name in names:
            if name is not None and name not in valid:
                raise UserError(f"{field}: {missing} {name!r}{nearest(name, valid)}.")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
