"""Judges of another kind than an attribute network: how alike two images are to any network, for example identity."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dfcvae.errors import UserError
from dfcvae.evaluation.judge_file import JudgeFile
from dfcvae.evaluation.judge_networks import Device, OnnxNetwork, Seen, TorchvisionNetwork
from dfcvae.images import to_rgb

AT_ONCE = 25  # images of 227 pixels, whose largest layers take 80 MB
STRANGERS = "_strangers"  # ends the names of measures of two different people
COSINE, DISTANCE = "cosine", "distance"


class NetworkJudge:
    """A frozen network that compares images, described by a YAML file.

    Args:
        about: which network, and how it takes images.
        device: of the network; images may come from any.

    Attributes:
        name: prefix of its measures.
        file: of its weights.
        sha256: of that file.

    Raises:
        UserError: if the network cannot be loaded, or does not take such images.
    """

    def __init__(self, about: JudgeFile, device: Device = "cpu"):
        self.about, self.name, self.device = about, about.name, torch.device(device)
        self.file = about.file()
        self.sha256 = hashlib.sha256(self.file.read_bytes()).hexdigest()
        self.network: TorchvisionNetwork | OnnxNetwork
        if about.network is not None:
            self.network = TorchvisionNetwork(about.network, self.file, about.layers, about.embedding, self.device)
        else:
            self.network = OnnxNetwork(self.file, about.layers, about.embedding, self.device)
        self._check()

    @classmethod
    def load(cls, path: str | Path, device: Device = "cpu") -> "NetworkJudge":
        """From its description.

        Raises:
            UserError: as of the class, with the path of the description.
        """
        about = JudgeFile.read(Path(path))
        try:
            return cls(about, device)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def _check(self) -> None:
        """Raise a UserError for a network that does not take such images, before hours of work."""
        size = self.about.size
        try:
            _, layers = self.see(torch.zeros(1, 3, size, size))
        except RuntimeError as error:
            why = str(error).splitlines()[0]
            raise UserError(
                f"size: {self.about.network} does not take images of {size} x {size} pixels: {why}"
            ) from error
        for name, activations in layers.items():
            if activations.dim() not in (2, 4):
                got = " x ".join(map(str, activations.shape))
                raise UserError(f"layers: {name} gives {got} numbers; expected N x C x H x W or N x C.")

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
        embedding, layers = self.network(self.prepare(images.to(self.device)))
        return _pooled(embedding), layers

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
            for name, value in (_alike(output, original) | _alike(stranger, original, STRANGERS)).items():
                rows.setdefault(f"{self.name}/{name}", []).append(value)
        return {name: torch.cat(values) for name, values in rows.items()}

    def card(self) -> dict[str, Any]:
        """What one must know to compare its numbers, without any path."""
        about = self.about
        kept = "whole image" if about.crop is None else f"central {about.crop:g} of each side"
        numbers = [f"{name} {', '.join(f'{v:g}' for v in getattr(about, name))}" for name in ("mean", "std")]
        pixels = f"{about.size}x{about.size} antialiased bilinear, {about.channels}, 0..{about.range}"
        return {
            "network": f"torchvision {about.network}" if about.network else f"ONNX {self.file.name}",
            "sha256": self.sha256,
            "input": "; ".join([kept, pixels, *numbers]),
            "embedding": f"{self.network.described()}, mean over places",
            "layers": list(about.layers),
        }


def compare_by(judges: Sequence[NetworkJudge], x_hat: Tensor, x: Tensor, strangers: Tensor) -> dict[str, Tensor]:
    """Measures (N,) of all judges by name."""
    values: dict[str, Tensor] = {}
    for judge in judges:
        values |= judge.compare(x_hat, x, strangers)
    return values


def stranger_of(rows: Tensor, images: int) -> Tensor:
    """Another image for each: that a third of the set farther on, never the image itself."""
    return (rows + max(1, images // 3)) % images


def _alike(a: Seen, b: Seen, ending: str = "") -> dict[str, Tensor]:
    values = {f"{COSINE}{ending}": functional.cosine_similarity(a[0], b[0], dim=1)}
    if a[1]:
        values[f"{DISTANCE}{ending}"] = torch.stack([_distance(a[1][name], b[1][name]) for name in a[1]]).sum(dim=0)
    return values


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """``mean_p |u(a)_p - u(b)_p|^2`` of activations (N, C, H, W) or (N, C), (N,)."""
    a, b = (functional.normalize(h.float(), dim=1, eps=1e-10) for h in (a, b))
    return (a - b).square().sum(dim=1).flatten(1).mean(dim=1) if a.dim() == 4 else (a - b).square().sum(dim=1)


def _pooled(embedding: Tensor) -> Tensor:
    """(N, F) of (N, F, H, W), of tokens (N, T, F), or of anything else (N, ...)."""
    if embedding.dim() == 4:
        return embedding.mean(dim=(2, 3))
    return embedding.mean(dim=1) if embedding.dim() == 3 else embedding.flatten(1)
