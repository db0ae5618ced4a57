"""Faces to train on: CelebA as it is on disk, any folder of images, a user's own in Python, or synthetic faces."""

from dfcvae.data.batches import Faces, Splits, TrainingBatches, filled
from dfcvae.data.own import OWN, as_splits, faces
from dfcvae.data.source import (
    SYNTHETIC,
    absent,
    at_hand,
    check_at_hand,
    data_of,
    decode_face,
    load_faces,
    read_face,
    source_name,
    synthetic_faces,
    tell_other_data,
)

__all__ = [
    "OWN",
    "SYNTHETIC",
    "Faces",
    "Splits",
    "TrainingBatches",
    "absent",
    "as_splits",
    "at_hand",
    "check_at_hand",
    "data_of",
    "decode_face",
    "faces",
    "filled",
    "load_faces",
    "read_face",
    "source_name",
    "synthetic_faces",
    "tell_other_data",
]
