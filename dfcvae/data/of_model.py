"""Faces as a trained model takes them: of its own data set, or from image files."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfcvae.checkpoint import read_model
from dfcvae.config import DataConfig, Experiment
from dfcvae.data.faces import Faces
from dfcvae.data.source import SYNTHETIC, source_name
from dfcvae.errors import UserError
from dfcvae.intake import Undecodable, decode, quiet_pillow
from dfcvae.intake.rendering import Rendering
from dfcvae.intake.trees import read_file

WHAT_TO_NAME = (
    "Name a data set with --source (a path as in `dfcvae data info`, or 'synthetic'), or, where the command takes "
    "them, image files."
)


def data_of(model: str | Path, source: str | None = None, *, held_out: bool = True, needed: bool = True) -> DataConfig:
    """The data configuration a model was trained with.

    Args:
        model: its run folder, checkpoint, exported folder or shipped name.
        source: another place to take faces from.
        held_out: only faces of the validation and test split will be looked at, so that no synthetic training faces
            need be drawn.
        needed: the faces will be loaded; false: how they are cropped and what they are called is enough.

    Raises:
        UserError: if it does not say and no source is named, if its experiment is of another version, or if the faces
            are needed, but not on this machine.
    """
    about, _ = read_model(model)
    if about["config"]:
        trained_on = Experiment.from_dict(about["config"]).data
    elif source:
        trained_on = DataConfig(size=about["vae"]["size"], channels=about["vae"]["channels"])
    else:
        raise UserError(
            f"{model} does not say which faces it was trained on, as it was saved without its experiment. Name them "
            "with --source: a path as in `dfcvae data info`, or 'synthetic'."
        )
    if needed and not source:
        check_at_hand(model, trained_on)
    if source and source != trained_on.source:
        trained_on = replace(trained_on, source=source, train_images=None)
    if held_out:
        return replace(trained_on, train_images=1 if trained_on.source == SYNTHETIC else None)
    return trained_on


def at_hand(data: DataConfig) -> bool:
    """Whether faces can be drawn, or there is something at their path; an exported model names its data only."""
    return data.source == SYNTHETIC or Path(data.source).expanduser().exists()


def check_at_hand(model: str | Path, data: DataConfig) -> None:
    """Raise a UserError if the faces a model was trained on are not on this machine."""
    if not at_hand(data) and read_model(model)[0]["config"].get("data", {}).get("source") == data.source:
        raise UserError(f"{absent(model, data)}. {WHAT_TO_NAME}")


def absent(model: str | Path, data: DataConfig) -> str:
    """The clause for training data that is not on this machine."""
    return f"The training data of {model} ({source_name(data)}) is not on this machine"


def tell_other_data(about: Mapping[str, Any], faces: Faces) -> None:
    """Say on stderr if faces are not of the decoded data that a checkpoint was trained on, as far as both are known.

    Args:
        about: what the checkpoint says of itself, see `read_model`.
        faces: any split of the data at hand.
    """
    before, now = about.get("fingerprint"), faces.fingerprint
    if before and now and before != now:
        print(
            "The data has changed since training: its decoded images, labels or splits are not those the checkpoint "
            "was trained on. Numbers do not compare with earlier ones.",
            file=sys.stderr,
        )


def read_face(path: str | Path, data: DataConfig) -> NDArray[np.uint8]:
    """An image file of any size as uint8 (C, size, size); see `decode_face`.

    Raises:
        UserError: if it is no image that can be read.
    """
    try:
        return decode_face(read_file(Path(path)), data)
    except Undecodable as error:
        raise UserError(f"{path} is no image that can be read ({error}); name JPEG or PNG files.") from error


def decode_face(encoded: bytes, data: DataConfig) -> NDArray[np.uint8]:
    """The bytes of an image file as uint8 (C, size, size), cropped like the training data.

    Synthetic faces are not cropped, and neither is what has the size of the training images already.

    Raises:
        Undecodable: if it is no image.
    """
    with quiet_pillow():
        image = decode(encoded)
    rendering = Rendering(data.size, data.channels, data.crop, data.filter)
    if data.source == SYNTHETIC or image.size == (data.size, data.size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return rendering.fit(image.crop((left, top, left + side, top + side)))
    return rendering.render(image)
