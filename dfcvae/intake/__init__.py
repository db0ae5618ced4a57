"""From a path on disk to a list of encoded images with their labels."""

from dfcvae.intake.celeba import open_images
from dfcvae.intake.decode import FORMATS, Rendering, Undecodable, decode, quiet_pillow
from dfcvae.intake.folders import ImageSet, read_file
from dfcvae.intake.labels import SPLITS

__all__ = [
    "FORMATS",
    "SPLITS",
    "ImageSet",
    "Rendering",
    "Undecodable",
    "decode",
    "open_images",
    "quiet_pillow",
    "read_file",
]
