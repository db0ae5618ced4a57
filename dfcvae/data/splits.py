"""One split of a dataset: images with their attributes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dfcvae.errors import UserError

SPLITS = ("train", "val", "test")
SHARE = 0.1  # of the training images, for a validation or test split that is drawn


@dataclass(frozen=True)
class Faces:
    """Images of one split and, row by row, what is true of them.

    Args:
        images: uint8 ``(n, C, H, W)``, 0 to 255; may be a view of a memory-mapped file.
        attributes: bool ``(n, A)``.
        names: the ``A`` attribute names, CelebA's spelling.
        fingerprint: digest of the data set that they are a part of, "synthetic" for faces that are drawn; "": unknown.

    Raises:
        UserError: the images are not uint8, or the three do not fit together.
    """

    images: Tensor
    attributes: Tensor
    names: tuple[str, ...]
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise UserError(
                f"Faces: expected uint8 images (n, C, H, W), got {self.images.dtype} {tuple(self.images.shape)}; "
                "dfcvae.faces(images) converts floats in [0, 1]."
            )
        if self.attributes.shape != (len(self.images), len(self.names)):
            raise UserError(
                f"Faces: {len(self.images)} images with {len(self.names)} attribute names need attributes of shape "
                f"({len(self.images)}, {len(self.names)}), got {tuple(self.attributes.shape)}."
            )

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> "Faces":
        """The same faces in the memory of a device."""
        return replace(self, images=self.images.to(device), attributes=self.attributes.to(device))

    def subset(self, n: int) -> "Faces":
        """The first ``n`` faces, without a copy.

        Raises:
            UserError: ``n`` is below 1 or above the number of faces.
        """
        if not 1 <= n <= len(self):
            raise UserError(f"Asked for the first {n:,} faces, but there are {len(self):,}. Choose 1 to {len(self):,}.")
        return replace(self, images=self.images[:n], attributes=self.attributes[:n])


Splits = dict[str, Faces]
"""The faces of ``"train"``, ``"val"`` and ``"test"``."""


def filled(splits: Splits, name: str) -> Faces:
    """A split that must not be empty.

    Raises:
        UserError: if it is: a small data set may have no test faces, a folder of test faces none to train on.
    """
    if not len(splits[name]):
        raise UserError(f"The {name} split of these faces is empty; name other data with --source.")
    return splits[name]
