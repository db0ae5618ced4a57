"""Faces to train on: CelebA as it lies on disk, any folder of images, or synthetic ones."""

from dfcvae.data.batches import Batches, TrainingBatches
from dfcvae.data.cache import prepare
from dfcvae.data.faces import Faces, Splits, filled
from dfcvae.data.of_model import absent, at_hand, check_at_hand, data_of, decode_face, read_face, tell_other_data
from dfcvae.data.source import SYNTHETIC, load_faces, source_name, synthetic_faces
from dfcvae.intake import ImageSet, open_images
from dfcvae.intake.rendering import Rendering

__all__ = [
    "SYNTHETIC",
    "Batches",
    "Faces",
    "ImageSet",
    "Rendering",
    "Splits",
    "TrainingBatches",
    "absent",
    "at_hand",
    "check_at_hand",
    "data_of",
    "decode_face",
    "filled",
    "load_faces",
    "open_images",
    "prepare",
    "read_face",
    "source_name",
    "synthetic_faces",
    "tell_other_data",
]
