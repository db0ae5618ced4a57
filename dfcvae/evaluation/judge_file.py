"""The description of a judge: which network it is, and how it takes images. A YAML file."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torchvision import models
from torchvision.models import list_models

from dfcvae.errors import UserError, nearest
from dfcvae.ranges import FINITE
from dfcvae.weights import whole_imagenet_file
from dfcvae.yamlfile import read_yaml

IMAGENET = "imagenet"
LARGEST = 4096  # pixels of a side
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,19}")
# names of other measures, which the names of a judge's measures must not repeat
RESERVED = ("judge", "inception", "features", "samples", "samples_gmm", "reconstructions", "floor", "lpips")
REQUIRED = ("name", "size", "channels", "range", "mean", "std")


@dataclass(frozen=True)
class JudgeFile:
    """A judge as its YAML file describes it; every value is checked.

    Args:
        name: prefix of its measures: ``NAME/cosine``.
        size: side in pixels of the square images that the network takes.
        channels: ``"RGB"`` or ``"BGR"``, the order in which it takes them.
        range: the value of white before the mean is subtracted: 1 or 255.
        mean: subtracted from each channel, in the order of ``channels`` and on the scale of ``range``.
        std: divides each channel afterwards.
        network: a classification network of torchvision, by its name there.
        weights: its state dict (safetensors or PyTorch), or ``"imagenet"`` for torchvision's, downloaded once.
        onnx: an ONNX file, instead of ``network`` and ``weights``.
        crop: fraction of each side to keep, around the centre; null keeps the whole image.
        layers: modules of the torchvision network, or outputs of the ONNX file, whose activations are compared.
        embedding: the module or output that is the embedding; null: what the last linear layer or convolution of the
            torchvision network takes in, or the first output of the ONNX file.
        folder: where ``weights`` and ``onnx`` are looked for, the folder of the YAML file.

    Raises:
        UserError: for a missing or bad value, with the field's name.
    """

    name: str
    size: int
    channels: str
    range: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    network: str | None = None
    weights: str | None = None
    onnx: str | None = None
    crop: float | None = None
    layers: tuple[str, ...] = ()
    embedding: str | None = None
    folder: Path = Path()

    def __post_init__(self) -> None:
        for field, (valid, expected) in CHECKS.items():
            value = getattr(self, field)
            if not valid(value):
                raise UserError(f"{field}: expected {expected}, got {_shown(value)}.")
        if (self.network is None) == (self.onnx is None):
            raise UserError("network: expected either network and weights (torchvision) or onnx (a file).")
        if self.onnx is not None and self.weights is not None:
            raise UserError("weights: expected none beside onnx; the ONNX file holds its own.")
        if self.network is not None:
            names = torchvision_classifiers()
            if self.network not in names:
                near = nearest(self.network, names)
                raise UserError(f"network: {self.network!r} is not a classification network of torchvision{near}.")
            if self.weights is None:
                raise UserError(f"weights: expected a file with the state dict of {self.network}, or {IMAGENET}.")

    @classmethod
    def read(cls, path: Path) -> "JudgeFile":
        """The description in a YAML file.

        Raises:
            UserError: if there is none, or a field is missing, unknown or bad.
        """
        if not path.is_file():
            raise UserError(f"No judge description at {path}; experiments/judges holds examples.")
        plain = read_yaml(path, "a judge description")
        try:
            return cls(**_checked_fields(plain), folder=path.parent)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def file(self) -> Path:
        """The ONNX or weights file, relative paths from the folder of the description.

        Raises:
            UserError: if it is missing, or ImageNet weights can be neither found nor downloaded.
        """
        if self.weights == IMAGENET:
            return whole_imagenet_file(str(self.network))
        field = "weights" if self.onnx is None else "onnx"
        file = self.folder / Path(str(getattr(self, field))).expanduser()
        if not file.is_file():
            raise UserError(f"{field}: no file at {file}; paths are relative to the YAML file.")
        return file


def torchvision_classifiers() -> list[str]:
    """Names of torchvision's classification networks."""
    return list_models(module=models)


def _checked_fields(plain: Any) -> dict[str, Any]:
    """The fields of a YAML file as arguments, lists as tuples."""
    known = [field.name for field in fields(JudgeFile) if field.name != "folder"]
    if not isinstance(plain, dict):
        raise UserError(f"expected fields (name: value), such as {', '.join(REQUIRED)}.")
    for name in plain:
        if name not in known:
            raise UserError(f"{name}: unknown field{nearest(name, known)}; the fields are {', '.join(known)}.")
    for name in REQUIRED:
        if name not in plain:
            raise UserError(f"{name}: missing; expected {CHECKS[name][1]}.")
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    return {name: () if name == "layers" and value is None else value for name, value in given.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -FINITE <= value <= FINITE


def _three(value: object, least: float = -math.inf) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(_is_number(v) and v > least for v in value)


def _text(value: object) -> bool:
    return value is None or (isinstance(value, str) and bool(value))


def _shown(value: object) -> str:
    return "null" if value is None else repr(list(value) if isinstance(value, tuple) else value)


_Check = tuple[Callable[[Any], bool], str]
_FILE: _Check = (_text, "a path")
CHECKS: dict[str, _Check] = {
    "name": (
        lambda v: isinstance(v, str) and NAME.fullmatch(v) is not None and v not in RESERVED,
        f"1 to 20 letters, digits, - or _, a letter first, and not {', '.join(RESERVED)}",
    ),
    "size": (
        lambda v: isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= LARGEST,
        f"a positive integer, {LARGEST} at most",
    ),
    "channels": (lambda v: v in ("RGB", "BGR"), "RGB or BGR"),
    "range": (lambda v: _is_number(v) and v in (1, 255), "1 or 255, the value of white"),
    "mean": (_three, "three numbers, one for each channel"),
    "std": (lambda v: _three(v, 0), "three numbers above 0, one for each channel"),
    "network": (_text, "the name of a network"),
    "weights": _FILE,
    "onnx": _FILE,
    "crop": (lambda v: v is None or (_is_number(v) and 0 < v <= 1), "a fraction above 0 and at most 1, or null"),
    "layers": (
        lambda v: isinstance(v, tuple) and all(isinstance(n, str) and n for n in v) and len(set(v)) == len(v),
        "a list of names, each once",
    ),
    "embedding": (_text, "a name, or null"),
}
