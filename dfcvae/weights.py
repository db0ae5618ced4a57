"""Weights of the feature network: torchvision's of ImageNet, those that ship, a file, or seeded random ones."""

import hashlib
import re
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from dfcvae.checkpoint import UnreadableError, read_pickled, read_tensors, write_tensors
from dfcvae.errors import UserError
from dfcvae.files import cache_root
from dfcvae.vgg import ARCHS, WIDTHS, layer_names, vgg_layers

OFFLINE_CHOICES = (
    "offline choices: the network that ships with the package (`weights: compact`), a local file "
    "(`weights: /path/to/file`), one trained on your own faces (`dfcvae features train`), or `weights: random`"
)
COMPACT = Path(__file__).parent / "pretrained" / "compact.safetensors"
"""A vgg19_bn of a quarter of the width, distilled from ImageNet's VGG-19; docs/compact.md is its model card."""

TRAINED = ("conv", "bn")  # what the names of layers with weights begin with
WRAPPERS = re.compile(r"^((module|model|_orig_mod|features)\.)*")  # DataParallel, Lightning, torch.compile, torchvision
NESTED = ("state_dict", "model", "model_state_dict")  # where training checkpoints hold the weights
WIDEST = 4  # times the width of the published network

NAMED = ("imagenet", "compact", "random")
Weights = str | Path | nn.Module  # one of NAMED, a file, or a VGG


def load_vgg_weights(arch: str, weights: Weights, depth: int | None = None) -> tuple[dict[str, Tensor], float]:
    """State dict of ``arch.features`` (keys ``0.weight``, ...; float32) and the width multiplier it was made with.

    Args:
        arch: a torchvision VGG.
        weights: ``"imagenet"``, ``"compact"``, ``"random"`` (the same values every time), the path of a state dict,
            or a VGG.
        depth: number of leading modules that are needed; None for all. Weights may end there.

    Raises:
        UserError: if the weights are unavailable, belong to another network, or lack a layer.
    """
    if weights == "random":
        return _random(arch), 1.0
    state = _read(_imagenet(arch) if weights == "imagenet" else weights)
    width = _check_fit(arch, state, _described(weights), depth)
    # after the check: tensors of other shapes may be too large for memory
    return {key: value.float() for key, value in state.items()}, width


def vgg_arch(weights: Weights, preferred: str = "vgg19") -> str:
    """Which of torchvision's VGGs weights are of, by the indices of their convolutions and batch norms.

    The preferred one where several fit: ``"imagenet"`` and ``"random"`` exist for all, and a file may end where several
    are still identical.

    Raises:
        UserError: if it is none of them.
    """
    if weights in ("imagenet", "random"):
        return preferred
    found = _places(weights)
    alike = []
    for arch in ARCHS:
        places = {index for index, name in enumerate(layer_names(arch)) if name.startswith(TRAINED)}
        if found == places:
            return arch
        if found and found == {place for place in places if place <= max(found)}:
            alike.append(arch)
    if not alike:
        raise UserError(f"{_described(weights)} is not a VGG of torchvision; expected one of {', '.join(ARCHS)}.")
    return preferred if preferred in alike else alike[-1]


def layers_held(arch: str, weights: Weights) -> list[str]:
    """The layers of a VGG that weights cover: all before the first missing convolution or batch norm."""
    names = layer_names(arch)
    if weights in ("imagenet", "random"):
        return names
    found = _places(weights)
    missing = (at for at, name in enumerate(names) if name.startswith(TRAINED) and at not in found)
    return names[: next(missing, len(names))]


def _places(weights: Weights) -> set[int]:
    """torchvision's indices of the layers that have weights, from names like ``"24.weight"``."""
    return {int(match[1]) for key in _read(weights) if (match := re.fullmatch(r"(\d{1,3})\.weight", key))}


def _read(weights: Weights) -> dict[str, Tensor]:
    """The tensors of a VGG's features by torchvision's indices."""
    if weights == "compact":
        weights = COMPACT
    state = weights.state_dict() if isinstance(weights, nn.Module) else read_state_dict(Path(weights).expanduser())
    return {WRAPPERS.sub("", key): value for key, value in state.items()}


def _described(weights: Weights) -> str:
    return f"the module {type(weights).__name__}" if isinstance(weights, nn.Module) else str(weights)


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors or PyTorch file; no code in it is executed (``weights_only``)."""
    if not file.is_file():
        raise UserError(f"No weights file at {file}; {OFFLINE_CHOICES}.")
    try:
        state = read_tensors(file)[0] if file.suffix == ".safetensors" else read_pickled(file)
        while isinstance(state, dict) and (inner := next((n for n in NESTED if isinstance(state.get(n), dict)), None)):
            state = state[inner]
        if not isinstance(state, dict):
            raise UnreadableError(f"it contains a {type(state).__name__}")
    except UnreadableError as error:
        raise UserError(
            f"{file} is not a weights file that PyTorch or safetensors can read safely: {error}. Delete or replace it."
        ) from error
    return {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}


def read_metadata(file: str | Path) -> dict[str, str]:
    """Metadata that `dfcvae features train` stored in a safetensors file; empty for other files."""
    try:
        with safe_open(file, framework="pt") as opened:
            return opened.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def imagenet_file(arch: str) -> Path:
    """Where the ImageNet features of ``arch`` are cached once downloaded (about 80 MB instead of 575 MB)."""
    return cache_root() / "weights" / f"{Path(_url(arch)).stem}-features.safetensors"


def torchvision_file(arch: str) -> Path:
    """Where torchvision caches the ImageNet weights of ``arch``; an existing file is not downloaded again."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(_url(arch)).name


def verified_imagenet_file(arch: str, file: Path | None = None, otherwise: str = "") -> Path:
    """torchvision's ImageNet weights of ``arch`` in a file (default: `torchvision_file`), downloaded if it is missing.

    Its SHA-256 is verified, whose first 8 digits end its name; torch does not check files in its cache.

    Raises:
        UserError: if it cannot be downloaded (``otherwise`` names another remedy), or is corrupted.
    """
    file = file or torchvision_file(arch)
    if not file.is_file():
        download(_url(arch), file, f"ImageNet weights of {arch}", otherwise)
    expected, found = file.stem.rpartition("-")[2], hashlib.sha256(file.read_bytes()).hexdigest()
    if not found.startswith(expected):
        raise UserError(
            f"{file} is corrupted: expected a SHA-256 of {expected}..., got {found[:8]}; delete it and try again."
        )
    return file


def _imagenet(arch: str) -> Path:
    cached, file = imagenet_file(arch), torchvision_file(arch)
    if not cached.is_file():
        with tempfile.TemporaryDirectory() as folder:
            place = file if file.is_file() else Path(folder) / file.name
            file = verified_imagenet_file(arch, place, OFFLINE_CHOICES)
            features = {k: v for k, v in read_state_dict(file).items() if k.startswith("features.")}
        write_tensors(cached, features)
    return cached


def _url(arch: str) -> str:
    from torchvision.models import get_model_weights

    return get_model_weights(arch).DEFAULT.url


def download(url: str, target: Path, described: str, otherwise: str = "") -> None:
    """Download a file; a UserError if it fails; the message names alternatives."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(target), progress=True)
    except Exception as error:  # URLError, HTTPError, timeouts, a full disk: the remedy is the same
        raise UserError(
            f"The {described} could not be downloaded from {url} ({error}). Download {target.name} on a machine with "
            f"internet and copy it to {Path(torch.hub.get_dir()) / 'checkpoints'}{otherwise and '; '}{otherwise}."
        ) from error


def _random(arch: str) -> dict[str, Tensor]:
    """He-initialised convolutions from a fixed seed, without touching the global random state."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        modules = list(vgg_layers(arch).values())
    state: dict[str, Tensor] = {}
    for index, module in enumerate(modules):
        for name, tensor in module.state_dict().items():
            if isinstance(module, nn.Conv2d) and name == "weight":
                value = torch.randn(tensor.shape, generator=generator) * (2 / tensor[0].numel()) ** 0.5
            else:  # identity batch norms, and biases of 0
                value = torch.full(tensor.shape, float(name in ("weight", "running_var")))
            state[f"{index}.{name}"] = value
    return state


def _check_fit(arch: str, state: dict[str, Tensor], source: str, depth: int | None) -> float:
    """The width multiplier, after comparing the shapes of the first ``depth`` modules with the architecture's."""
    first = state.get("0.weight")
    width = len(first) / WIDTHS[0] if first is not None and first.dim() else 1.0
    if width > WIDEST:
        raise UserError(
            f"{source} is {width:g} times as wide as {arch}, which is more than {WIDEST}; use another file."
        )
    with torch.device("meta"):
        layers = list(vgg_layers(arch, width).items())[:depth]
    for index, (layer, module) in enumerate(layers):
        for name, expected in module.state_dict().items():
            found = state.get(f"{index}.{name}")
            if name == "num_batches_tracked" or (found is not None and found.shape == expected.shape):
                continue
            key, shape = f"features.{index}.{name}", tuple(expected.shape)
            if found is None and index and not any(entry.startswith(f"{index}.") for entry in state):
                raise UserError(
                    f"{source} lacks {layer} of {arch} ({key} of shape {shape}), which the chosen layers need; choose "
                    f"layers before {layer}, or weights that include it."
                )
            got = "is missing" if found is None else f"has shape {tuple(found.shape)}"
            raise UserError(
                f"{source} does not contain the features of {arch}: expected {key} of shape {shape}, but it {got}. "
                "Name the network it was made for (`arch`)."
            )
    return width
