"""Faces to train on: CelebA as it lies on disk, or synthetic ones."""

from dfcvae.data.batches import Batches, TrainingBatches
from dfcvae.data.cache import Rendering, prepare
from dfcvae.data.celeba import describe, open_celeba
from dfcvae.data.faces import Faces, Splits
from dfcvae.data.source import SYNTHETIC, load_faces, synthetic_faces

__all__ = [
    "SYNTHETIC",
    "Batches",
    "Faces",
    "Rendering",
    "Splits",
    "TrainingBatches",
    "describe",
    "load_faces",
    "open_celeba",
    "prepare",
    "synthetic_faces",
]
