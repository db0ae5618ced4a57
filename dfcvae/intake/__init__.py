"""From a path on disk to a list of encoded images with what is known of each."""

from dfcvae.intake.decode import Undecodable, decode, quiet_pillow
from dfcvae.intake.imageset import ImageSet
from dfcvae.intake.layouts import open_images
from dfcvae.intake.splits import SPLITS

__all__ = ["SPLITS", "ImageSet", "Undecodable", "decode", "open_images", "quiet_pillow"]
