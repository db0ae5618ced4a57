"""The feature cache: the feature network's output for every training image, computed once instead of in every step."""

import hashlib
import os
from math import prod
from pathlib import Path
from platform import node

import torch
from torch import Tensor
from tqdm import tqdm

from dfcvae.config import Experiment, FeatureConfig
from dfcvae.data import TrainingBatches
from dfcvae.data.batches import take
from dfcvae.device import CPU, MEMORY_FRACTION, free_disk, free_memory
from dfcvae.errors import UserError
from dfcvae.files import cache_root
from dfcvae.images import to_float
from dfcvae.losses import ImageLoss

FORMAT = 1  # raise it when the bytes of a cached file change their meaning
AT_ONCE = 64  # images

Shapes = dict[str, tuple[int, ...]]


class CachedTargets:
    """The representations of images, and of their mirror images, as rows of one bfloat16 array.

    Args:
        rows: bfloat16 (n or 2 n, K), on a GPU, in memory or memory-mapped: all images, then all their mirror images.
        shapes: of each term for one image, by name. The K numbers of a row are those of the terms one after another,
            feature maps in channels-last order.
        images: n.
    """

    def __init__(self, rows: Tensor, shapes: Shapes, images: int):
        self.rows, self.shapes, self.images = rows, shapes, images

    def __call__(self, rows: Tensor, flips: Tensor) -> dict[str, Tensor]:
        """Representations (N, ...) by term of the images in ``rows`` (N,), mirrored where ``flips`` (N,) is true."""
        index = (rows + self.images * flips).to(self.rows.device)
        # as integers, since NumPy, which `take` uses, has no bfloat16
        return _unpack(take(self.rows.view(torch.int16), index).view(torch.bfloat16), self.shapes)


class Targets:
    """The targets of a loss, on the device, for training images uint8 (n, C, H, W), not computed yet.

    With ``flip`` also those of the mirror images.
    """

    @torch.no_grad()
    def __init__(self, loss: ImageLoss, images: Tensor, flip: bool, device: torch.device, progress: bool = True):
        self.loss, self.images, self.device, self.progress = loss, images, device, progress
        self.copies = 1 + flip
        first = loss.represent(to_float(images[:1].to(device)))
        self.shapes: Shapes = {name: tuple(value.shape[1:]) for name, value in first.items()}
        self.size = (self.copies * len(images), sum(map(prod, self.shapes.values())))
        self.bytes = 2 * prod(self.size)

    def fits(self, place: torch.device) -> bool:
        """Whether they take at most half of the free memory of a device."""
        return self.bytes <= MEMORY_FRACTION * free_memory(place)

    def in_memory(self) -> CachedTargets:
        """Keep them in the memory of the device, or else of the CPU; a UserError if they do not fit."""
        place = self.device if self.fits(self.device) else CPU
        if not self.fits(place):
            raise self._too_large(int(MEMORY_FRACTION * free_memory(CPU)), "of memory")
        return self._fill(torch.empty(self.size, dtype=torch.bfloat16, device=place))

    def on_disk(self) -> CachedTargets:
        """Keep them in a memory-mapped file of the cache, unless a run with the same targets left it there.

        Raises:
            UserError: if it does not fit on the disk.
        """
        file = cache_root() / "targets" / f"{self._digest()}.bfloat16"
        _sweep(file.parent)
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            if self.bytes > free_disk(file.parent):
                raise self._too_large(free_disk(file.parent), f"in {file.parent}")
            partial = file.with_suffix(f".{node()}.{os.getpid()}.partial")
            try:
                _reserve(partial, self.bytes)
                self._fill(self._map(partial, shared=True))
                with partial.open("rb") as written:
                    os.fsync(written.fileno())
                partial.replace(file)
            finally:
                partial.unlink(missing_ok=True)
        return CachedTargets(self._map(file, shared=False), self.shapes, len(self.images))

    def _map(self, file: Path, shared: bool) -> Tensor:
        return torch.from_file(str(file), shared=shared, size=prod(self.size), dtype=torch.bfloat16).view(self.size)

    @torch.no_grad()
    def _fill(self, rows: Tensor) -> CachedTargets:
        n = len(self.images)
        with tqdm(total=len(rows), desc="target features", unit=" images", disable=not self.progress or None) as bar:
            for start in range(0, n, AT_ONCE):
                x = to_float(self.images[start : start + AT_ONCE].to(self.device))
                for copy, shown in enumerate((x, x.flip(-1))[: self.copies]):
                    begin = copy * n + start
                    rows[begin : begin + len(x)] = _pack(self.loss.represent(shown))
                    bar.update(len(x))
        return CachedTargets(rows, self.shapes, n)

    def _digest(self) -> str:
        """Of all that the targets depend on: the layers, the network's weights and the pixels themselves."""
        digest = hashlib.sha256(repr((FORMAT, self.size, self.shapes)).encode())
        digest.update(repr([(name, type(module).__name__) for name, module in self.loss.named_modules()]).encode())
        for name, tensor in self.loss.named_buffers():
            digest.update(f"{name} {tensor.dtype}".encode())
            digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().data)
        for images in self.images.split(1024):
            digest.update(images.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:32]

    def _too_large(self, room: int, where: str) -> UserError:
        return UserError(
            f"The target features of {len(self.images):,} training images take {self.bytes / 1e9:.1f} GB, but only "
            f"{room / 1e9:.1f} GB {where} can be used for them. Set loss.features.cache_targets to never, compare "
            "fewer layers, or leave out the mirror images (data.flip false)."
        )


def cached_targets(
    experiment: Experiment,
    loss: ImageLoss,
    batches: TrainingBatches,
    device: torch.device,
    before: bool | None,
    progress: bool,
) -> CachedTargets | None:
    """The feature cache of a run, or None if it computes its targets in every step; see `choose_targets`."""
    config = experiment.loss.features
    assert config is not None  # as there is a loss
    if config.cache_targets == "auto" and device.type == "cpu" and experiment.training.devices > 1:
        return None  # each rank would keep all of them
    targets = Targets(loss, batches.faces.images, batches.flip, device, progress)
    epochs = experiment.training.total_steps(batches.steps) / batches.steps
    return choose_targets(config, targets, epochs, before)


def choose_targets(
    config: FeatureConfig, targets: Targets, epochs: float, before: bool | None = None
) -> CachedTargets | None:
    """The cached targets of a run, or None if it computes them in every step.

    ``cache_targets: auto`` keeps them in memory if they fit into half of what is free, and training sees an image more
    often (``epochs``) than its targets would be computed. ``before`` says whether the resumed run cached them: it
    continues with the same numbers; None for a new run.

    Raises:
        UserError: if they are requested but cannot be cached.
    """
    wanted = config.cache_targets
    if wanted == "never" or before is False or (wanted == "auto" and not before and epochs <= targets.copies):
        return None
    no_network = next(targets.loss.buffers(), None) is None
    if no_network or config.shift > 1:
        if wanted == "auto":
            return None
        why = "this loss has no feature network" if no_network else "they change with the random shift"
        raise UserError(f"Target features cannot be cached: {why}; set loss.features.cache_targets to never.")
    if wanted == "disk":
        return targets.on_disk()
    # a GPU computes them in less time than it takes to bring them from the CPU's memory
    if wanted == "auto" and not before and not targets.fits(targets.device):
        return None
    return targets.in_memory()


def _sweep(folder: Path) -> None:
    """Remove the incomplete files of dead processes of this machine: they can be many gigabytes."""
    for partial in folder.glob(f"*.{node()}.*.partial") if os.name == "posix" else ():
        try:
            os.kill(int(partial.suffixes[-2][1:]), 0)  # sends nothing
        except ProcessLookupError:
            partial.unlink(missing_ok=True)
        except PermissionError:
            continue  # alive, and another user's


def _reserve(file: Path, size: int) -> None:
    """Claim the disk space: on a full disk that raises an error, while writing to a mapping kills the process."""
    with file.open("wb") as opened:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(opened.fileno(), 0, size)
        else:
            opened.truncate(size)


def _pack(values: dict[str, Tensor]) -> Tensor:
    """Representations as rows (N, K)."""
    parts = [value.permute(0, 2, 3, 1) if value.dim() == 4 else value for value in values.values()]
    return torch.cat([part.flatten(1).to(torch.bfloat16) for part in parts], dim=1)


def _unpack(rows: Tensor, shapes: Shapes) -> dict[str, Tensor]:
    """The inverse of `_pack`, as views."""
    values, start = {}, 0
    for name, shape in shapes.items():
        part = rows[:, start : start + prod(shape)]
        start += prod(shape)
        if len(shape) == 3:
            channels, height, width = shape
            values[name] = part.view(-1, height, width, channels).permute(0, 3, 1, 2)
        else:
            values[name] = part.view(-1, *shape)
    return values
