"""From a data configuration, or a trained model, to faces."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from dfcvae.checkpoint import read_model
from dfcvae.config import DataConfig, Experiment
from dfcvae.data.batches import Faces, Splits
from dfcvae.data.decode import Rendering, Undecodable, decode
from dfcvae.errors import UserError

SYNTHETIC = "synthetic"
SYNTHETIC_TRAIN = 20_000
SYNTHETIC_HELD_OUT = 1_000  # validation and test split each
DRAWN_AT_ONCE = 500  # faces between two updates of the progress bar


def load_faces(config: DataConfig, *, workers: int | None = None, progress: bool = True) -> Splits:
    """The splits ``train``, ``val`` and ``test`` of a data configuration, decoded or drawn.

    Args:
        config: which faces, and how to crop and resize them.
        workers: decoding processes (default: one per processor).
        progress: show a progress bar on stderr.

    Raises:
        UserError: if there is no readable data set at ``config.source``, or a value is out of range.
    """
    rendering = Rendering.of(config)  # validates before reading or drawing faces
    if config.source == SYNTHETIC:
        return synthetic_faces(config.train_images or SYNTHETIC_TRAIN, config.size, config.channels, progress=progress)
    from dfcvae.data.cache import prepare  # the readers of all layouts: only where files are read
    from dfcvae.data.celeba import open_images

    images = open_images(config.source, split_seed=config.split_seed)
    splits = prepare(images, rendering, strict=config.strict, workers=workers, progress=progress)
    if config.train_images is not None:
        splits = splits | {"train": splits["train"].subset(config.train_images)}
    return splits


def source_name(config: DataConfig) -> str:
    """The name of a data set without its folder, which may change."""
    return Path(config.source).expanduser().resolve().name


def synthetic_faces(train: int, size: int = 64, channels: int = 3, *, progress: bool = True) -> Splits:
    """Splits of synthetic faces: held-out faces are the same whatever the number of training faces."""
    from dfcvae.data.synthetic import ATTRIBUTES, render_faces

    def draw(start: int, count: int) -> Faces:
        images = torch.empty((count, channels, size, size), dtype=torch.uint8)
        attributes = torch.empty((count, len(ATTRIBUTES)), dtype=torch.bool)
        for rows in torch.arange(count).split(DRAWN_AT_ONCE):
            drawn, attributes[rows] = render_faces(start + rows, size=size)
            images[rows] = drawn if channels == 3 else (drawn * luma).sum(dim=1, keepdim=True).round().byte()
            bar.update(len(drawn))
        return Faces(images, attributes, ATTRIBUTES, SYNTHETIC)

    held_out = SYNTHETIC_HELD_OUT
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # ITU-R 601, as Pillow
    with tqdm(total=train + 2 * held_out, desc="drawing faces", unit="face", disable=not progress or None) as bar:
        return {"train": draw(2 * held_out, train), "val": draw(0, held_out), "test": draw(held_out, held_out)}


def data_of(model: str | Path, source: str | None = None, *, held_out: bool = True, needed: bool = True) -> DataConfig:
    """The data configuration a model was trained with.

    Args:
        model: its run folder, checkpoint, exported folder or shipped name.
        source: another place to take faces from.
        held_out: only faces of the validation and test split will be used, so that no synthetic training faces need be
            drawn.
        needed: the faces will be loaded; false: their crop and attribute names are enough.

    Raises:
        UserError: if the model does not say and no source is named, if its experiment is of another version, or if the
            faces are needed, but not on this machine.
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
    if source and not _same_place(source, trained_on.source):
        trained_on = replace(trained_on, source=source, train_images=None)
    if held_out:
        return replace(trained_on, train_images=1 if trained_on.source == SYNTHETIC else None)
    return trained_on


def _same_place(source: str, other: str) -> bool:
    paths = [Path(name).expanduser().resolve() for name in (source, other)]
    return source == other or (SYNTHETIC not in (source, other) and paths[0] == paths[1])


def at_hand(data: DataConfig) -> bool:
    """Whether faces can be drawn, or there is something at their path; an exported model names its data only."""
    return data.source == SYNTHETIC or Path(data.source).expanduser().exists()


def absent(model: str | Path, data: DataConfig) -> str:
    """The clause for training data that is not on this machine."""
    return f"The training data of {model} ({source_name(data)}) is not on this machine"


def check_at_hand(model: str | Path, data: DataConfig) -> None:
    """Raise a UserError if the faces a model was trained on are not on this machine."""
    if not at_hand(data) and read_model(model)[0]["config"].get("data", {}).get("source") == data.source:
        raise UserError(
            f"{absent(model, data)}. Name a data set with --source (a path as in `dfcvae data info`, or 'synthetic'), "
            "or, where the command takes them, image files."
        )


def tell_other_data(about: Mapping[str, Any], faces: Faces) -> None:
    """Warn on stderr if faces are not of the data of a checkpoint (`read_model`'s), as far as both are known."""
    before, now = about.get("fingerprint"), faces.fingerprint
    if before and now and before != now:
        print(
            "The data has changed since training: its decoded images, labels or splits are not those the checkpoint "
            "was trained on. Numbers cannot be compared with earlier ones.",
            file=sys.stderr,
        )


def read_face(path: str | Path, data: DataConfig) -> NDArray[np.uint8]:
    """An image file of any size as `decode_face` returns it; a UserError if it is not a readable image."""
    from dfcvae.data.folders import read_file

    try:
        return decode_face(read_file(Path(path)), data)
    except Undecodable as error:
        raise UserError(f"{path} is not a readable image ({error}); name JPEG or PNG files.") from error


def decode_face(encoded: bytes, data: DataConfig) -> NDArray[np.uint8]:
    """The bytes of an image file as uint8 (C, size, size), cropped like the training data.

    Synthetic faces, and images that have the size of the training images already, are not cropped.

    Raises:
        Undecodable: if it is not an image.
    """
    image = decode(encoded)
    rendering = Rendering.of(data)
    if data.source == SYNTHETIC or image.size == (data.size, data.size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return rendering.fit(image.crop((left, top, left + side, top + side)))
    return rendering.render(image)
