"""The faces of the benchmark: JPEG files as popular implementations read them, and the same faces decoded."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from dfcvae.data import Faces, TrainingBatches
from dfcvae.data.batches import Batch
from dfcvae.data.synthetic import render_faces
from dfcvae.data.workers import workers_by_default
from dfcvae.images import to_uint8

CELEBA = (178, 218)  # width and height of its aligned images in pixels
CROP = 148
WORKERS = 4
WITHOUT_END = 10**9  # images in an epoch, so that no epoch ends within a measurement


def write_jpegs(folder: Path, count: int) -> None:
    """Draw synthetic faces into JPEG files of CelebA's size, ``000000.jpg`` and on."""
    folder.mkdir(parents=True, exist_ok=True)
    width, height = CELEBA
    for first in range(0, count, 64):
        drawn, _ = render_faces(range(first, min(first + 64, count)), size=256)
        for number, face in enumerate(drawn.permute(0, 2, 3, 1).numpy(), start=first):
            margin = (256 - round(256 * width / height)) // 2
            image = Image.fromarray(face).resize(CELEBA, box=(margin, 0, 256 - margin, 256))
            image.save(folder / f"{number:06d}.jpg")


class JPEGFaces(Dataset[tuple[Tensor, int]]):
    """Every item decodes its file: an image (3, size, size) in [0, 1], and its number.

    Every second item is mirrored, by chance; image i has the number 2 i, its mirror image 2 i + 1.

    Args:
        folder: of JPEG files.
        size: side of the images in pixels.
    """

    def __init__(self, folder: Path, size: int):
        self.files = sorted(folder.glob("*.jpg"))
        self.transform = transforms.Compose(
            [transforms.CenterCrop(CROP), transforms.Resize(size), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = self._decode(self.files[index])
        mirrored = random.random() < 0.5
        return (pixels.flip(-1) if mirrored else pixels), 2 * index + mirrored

    def all_images(self) -> Tensor:
        """Every image and its mirror image behind it, (2 n, 3, size, size), in the order of their numbers."""
        images = torch.stack([self._decode(file) for file in self.files])
        return torch.stack([images, images.flip(-1)], dim=1).flatten(0, 1)

    def _decode(self, file: Path) -> Tensor:
        with Image.open(file) as image:
            return self.transform(image.convert("RGB"))


def jpeg_batches(folder: Path, size: int, batch_size: int, pin: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches without end from a loader with worker processes: float images and their numbers."""
    faces = JPEGFaces(folder, size)
    yield from DataLoader(
        faces,
        batch_size,
        sampler=RandomSampler(faces, replacement=True, num_samples=WITHOUT_END),
        num_workers=min(WORKERS, workers_by_default()),
        multiprocessing_context="fork" if sys.platform == "linux" else None,  # the default in a process of its own
        pin_memory=pin,
    )


def decoded_faces(folder: Path, size: int) -> Tensor:
    """All of them as rows of uint8, (n, 3, size, size)."""
    return to_uint8(JPEGFaces(folder, size).all_images()[::2])


def row_batches(images: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end as the package serves them: uint8 rows, mirrored by chance, and their numbers."""

    def numbers(rows: Tensor, flips: Tensor) -> dict[str, Tensor]:
        return {"numbers": 2 * rows + flips}

    faces = Faces(images, torch.zeros(len(images), 0, dtype=torch.bool), ())
    for batch in endless(TrainingBatches(faces, batch_size, seed=0, targets=numbers)):
        assert batch.targets is not None
        yield batch.images, batch.targets["numbers"]


def endless(batches: TrainingBatches) -> Iterator[Batch]:
    """One epoch after another."""
    while True:
        yield from batches
        batches.step += batches.steps
