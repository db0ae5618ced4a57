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


def decoded_faces(folder: Path, size: int) -> Faces:
    """All of them as rows of uint8, image i at row 2 i and its mirror image behind it, with the number of each row."""
    return numbered(to_uint8(JPEGFaces(folder, size).all_images()))


def numbered(images: Tensor) -> Faces:
    """Faces whose attributes are the bits of their row's number, for `numbers` to tell them apart in a batch."""
    bits = max(1, (len(images) - 1).bit_length())
    attributes = (torch.arange(len(images))[:, None] >> torch.arange(bits)) & 1
    return Faces(images, attributes.bool(), tuple(f"bit {bit}" for bit in range(bits)))


def numbers(attributes: Tensor) -> Tensor:
    """The rows (N,) that `numbered` gave these attributes (N, A)."""
    return (attributes << torch.arange(attributes.shape[1])).sum(dim=1)


def row_batches(faces: Faces, batch_size: int, flip: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end as the package serves them: uint8 rows, mirrored by chance or as they are, and numbers."""
    batches = TrainingBatches(faces, batch_size, seed=0, flip=flip)
    while True:
        for images, attributes in batches:
            yield images, numbers(attributes)
        batches.step += len(batches)
