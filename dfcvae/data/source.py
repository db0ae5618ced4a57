"""From a data configuration to the three splits."""

from pathlib import Path

import torch
from tqdm import tqdm

from dfcvae.config import DataConfig
from dfcvae.data.cache import prepare
from dfcvae.data.faces import Faces, Splits
from dfcvae.data.synthetic import ATTRIBUTES, render_faces
from dfcvae.intake import open_images
from dfcvae.intake.rendering import Rendering

SYNTHETIC = "synthetic"
SYNTHETIC_TRAIN = 20_000
SYNTHETIC_HELD_OUT = 1_000  # validation and test split each
CHUNK = 500  # faces between two updates of the progress bar


def load_faces(config: DataConfig, *, workers: int | None = None, progress: bool = True) -> Splits:
    """The splits ``train``, ``val`` and ``test`` of a data configuration, decoded or drawn.

    Args:
        config: which faces, and how to crop and resize them.
        workers: decoding processes (default: one per processor).
        progress: show a bar on stderr.

    Raises:
        UserError: if there is no readable data set at ``config.source``.
    """
    Rendering(
        config.size, config.channels, config.crop, config.filter
    )  # mistakes show before anything is read or drawn
    if config.source == SYNTHETIC:
        return synthetic_faces(config.train_images or SYNTHETIC_TRAIN, config.size, config.channels, progress=progress)
    splits = prepare(
        open_images(config.source, split_seed=config.split_seed),
        size=config.size,
        channels=config.channels,
        crop=config.crop,
        filter=config.filter,
        strict=config.strict,
        workers=workers,
        progress=progress,
    )
    if config.train_images is not None:
        splits = splits | {"train": splits["train"].subset(config.train_images)}
    return splits


def source_name(config: DataConfig) -> str:
    """The name of a data set without the place where it lies, which may change."""
    return Path(config.source).expanduser().resolve().name


def synthetic_faces(train: int, size: int = 64, channels: int = 3, *, progress: bool = True) -> Splits:
    """Splits of synthetic faces: held-out faces are the same whatever the number of training faces."""
    starts = {"val": 0, "test": SYNTHETIC_HELD_OUT, "train": 2 * SYNTHETIC_HELD_OUT}
    counts = {"train": train, "val": SYNTHETIC_HELD_OUT, "test": SYNTHETIC_HELD_OUT}
    with tqdm(total=sum(counts.values()), desc="drawing faces", unit="face", disable=not progress) as bar:
        return {split: _draw(starts[split], count, size, channels, bar) for split, count in counts.items()}


def _draw(start: int, count: int, size: int, channels: int, bar: tqdm) -> Faces:
    images = torch.empty((count, channels, size, size), dtype=torch.uint8)
    attributes = torch.empty((count, len(ATTRIBUTES)), dtype=torch.bool)
    for first in range(0, count, CHUNK):
        part = slice(first, min(first + CHUNK, count))
        drawn, attributes[part] = render_faces(range(start + part.start, start + part.stop), size=size)
        images[part] = drawn if channels == 3 else _luma(drawn)
        bar.update(len(drawn))
    return Faces(images, attributes, ATTRIBUTES)


def _luma(images: torch.Tensor) -> torch.Tensor:
    """ITU-R 601 luma of uint8 RGB (N, 3, H, W): uint8 (N, 1, H, W), as Pillow converts to grey."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True).round().to(torch.uint8)
