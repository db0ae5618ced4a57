"""A user's own faces in Python: tensors, arrays, Datasets and dicts of splits, checked once and stored as uint8."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from dfcvae.config import DataConfig
from dfcvae.data.batches import SHARE, SPLITS, Faces, Splits
from dfcvae.data.decode import Rendering, Undecodable, upright_rgb
from dfcvae.data.source import load_faces
from dfcvae.errors import UserError, nearest
from dfcvae.images import to_uint8

OWN = "faces given in Python"  # stands for `DataConfig.source` where a saved experiment has no path to name
FEWEST = 4  # images that a validation split can be drawn from
AT_ONCE = 1024  # images converted together
TYPES = ("uint8", "float16", "bfloat16", "float32", "float64")
TOLERANCE = 1e-3  # beyond [0, 1]: a quarter of a grey level, as resizing in float16 leaves


def as_splits(data: Any, config: DataConfig, *, progress: bool = True) -> Splits:
    """The splits ``train``, ``val`` and ``test`` of whatever holds a user's faces.

    Args:
        data: a tensor (N, C, H, W), uint8 or float in [0, 1]; an array, also (N, H, W, C), or (N, H, W) for grey; a
            Dataset or sequence of images (PIL, tensor or array), or of tuples or dicts that begin with one; `Faces`; a
            dict of splits of any of these; or a path or "synthetic", as ``config.source``.
        config: size and channels of the images. PIL images are cropped and resized as those of a folder are; tensors
            and arrays must have that shape. Without a validation split a tenth of the training images is drawn by
            ``config.split_seed``; the test split may be empty.
        progress: show a progress bar on stderr.

    Raises:
        UserError: images of another type, shape or range; the sentence names the usual cause.
    """
    if isinstance(data, str | Path):
        return load_faces(replace(config, source=str(data)), progress=progress)
    rendering = Rendering.of(config)
    named = data if isinstance(data, Mapping) else {"train": data}
    splits = {}
    for key, part in named.items():
        where = f"data[{key!r}]" if isinstance(data, Mapping) else "data"
        if key not in SPLITS:
            raise UserError(f"{where}: expected the splits train, val and test{nearest(key, SPLITS)}.")
        if not isinstance(part, Faces):
            images = _images(part, where, rendering, progress)
            part = Faces(images, torch.zeros(len(images), 0, dtype=torch.bool), ())
        shape = config.channels, config.size, config.size
        if part.images.shape[1:] != shape:
            raise UserError(
                f"{where}: expected images of shape {shape} (data.channels, data.size), got "
                f"{tuple(part.images.shape[1:])}; crop, resize or convert them, or set data.size and data.channels."
            )
        splits[key] = _fingerprinted(part)
    if not len(splits.get("train", ())):
        raise UserError("data: there are no training images; give a tensor of images, or a dict with 'train'.")
    return _complete(splits, config)


def faces(images: Any, attributes: ArrayLike | Tensor | None = None, names: Sequence[str] | None = None) -> Faces:
    """`Faces` from images and their attributes, checked.

    Args:
        images: a tensor, an array or a sequence of either, as in `as_splits`; of any one size.
        attributes: (n, A), or (n,) for a single one: bool, 0 and 1, or -1 and 1.
        names: the ``A`` attribute names.

    Raises:
        UserError: a value of another type, shape or range.
    """
    pixels = _images(images, "images", None, progress=False)
    if not len(pixels):
        raise UserError("images: expected at least one image, got none.")
    if attributes is None:
        attributes, names = np.zeros((len(pixels), 0), np.bool_), names or ()
    values = np.asarray(attributes.cpu() if isinstance(attributes, Tensor) else attributes)
    values = values[:, None] if values.ndim == 1 else values
    if names is None or isinstance(names, str) or values.shape != (len(pixels), len(names)):
        raise UserError(
            f"attributes: expected a row for each of {len(pixels):,} images and a column for each name, got the shape "
            f"{values.shape} and the names {names}."
        )
    if not any(np.isin(values, (no, 1)).all() for no in (0, -1)):
        raise UserError("attributes: expected true and false, 1 and 0, or 1 and -1, got other values.")
    return _fingerprinted(Faces(pixels, torch.from_numpy(values == 1), tuple(names)))


def _images(data: Any, where: str, rendering: Rendering | None, progress: bool) -> Tensor:
    """uint8 (N, C, H, W), on the CPU."""
    if isinstance(data, Tensor | np.ndarray):
        images = _tensor(data, where)
        if len(images) and images.max() == 1:
            raise UserError(f"{where}: no value exceeds 1 of 255; give floats in [0, 1] without a cast to uint8.")
        return images
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if isinstance(data, IterableDataset) or not indexed:
        hint = "; give its .dataset" if isinstance(data, DataLoader) else ""
        raise UserError(
            f"{where}: expected a tensor, an array or a Dataset with a length, got {type(data).__name__}{hint}."
        )
    if not len(data):
        shape = (rendering.channels, rendering.size, rendering.size) if rendering else (3, 1, 1)
        return torch.empty((0, *shape), dtype=torch.uint8)
    images = torch.empty(0)
    for i in tqdm(range(len(data)), "reading faces", unit=" images", disable=not progress or None):
        image = _item(data[i], f"{where}, item {i}", rendering)
        if i == 0:
            images = image.new_empty((len(data), *image.shape))
        if image.shape != images.shape[1:]:
            raise UserError(
                f"{where}, item {i}: expected images of one shape, got {tuple(image.shape)} after "
                f"{tuple(images.shape[1:])}; resize them in the Dataset, or let it return PIL images."
            )
        images[i] = image
    return images


def _item(item: Any, where: str, rendering: Rendering | None) -> Tensor:
    """One item of a Dataset as uint8 (C, H, W)."""
    if isinstance(item, Mapping):
        item = next(iter(item.values()), None)
    elif isinstance(item, tuple | list):
        item = item[0] if item else None
    if isinstance(item, Tensor | np.ndarray):
        return _tensor(item[None], where)[0]
    if not isinstance(item, Image.Image):
        raise UserError(f"{where}: expected an image (PIL, tensor or array), got {type(item).__name__}.")
    if rendering is None:
        raise UserError(f"{where}: a PIL image has no fixed size; convert it to an array, or use data=.")
    try:
        return torch.from_numpy(rendering.render(upright_rgb(item)).copy())
    except Undecodable as error:
        raise UserError(f"{where}: {error}.") from error


def _tensor(data: Any, where: str) -> Tensor:
    """A tensor or array, whose channels may be last or, for grey, missing, as uint8 (N, C, H, W)."""
    if str(data.dtype).removeprefix("torch.") not in TYPES:
        raise UserError(
            f"{where}: expected uint8 in 0 to 255 or float in [0, 1], got {data.dtype}; for 0 to 255 convert to uint8."
        )
    if isinstance(data, np.ndarray):
        if data.ndim == 3:
            data = data[:, None]
        elif data.ndim == 4 and data.shape[1] not in (1, 3) and data.shape[3] in (1, 3):
            data = data.transpose(0, 3, 1, 2)
        data = torch.from_numpy(np.require(data, requirements=["C", "W"]))
    shape = tuple(data.shape)
    if len(shape) != 4 or shape[1] not in (1, 3) or 0 in shape[2:]:
        cause = ""
        if shape[1:2] == (4,):
            cause = "; leave out the alpha channel: images[:, :3]"
        elif len(shape) == 3:
            cause = "; a single image needs images[None], grey images images[:, None]"
        elif len(shape) == 4 and shape[3] in (1, 3):
            cause = "; for channels last use images.permute(0, 3, 1, 2)"
        raise UserError(f"{where}: expected images of shape (N, C, H, W) with 1 or 3 channels, got {shape}{cause}.")
    images = data.detach().cpu()
    if images.dtype == torch.uint8 or not len(images):
        return images.to(torch.uint8)
    low, high = (value.item() for value in images.aminmax())
    if not np.isfinite([low, high]).all():
        raise UserError(f"{where}: the images contain NaN or infinity; correct them where they are computed.")
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        cause = "for 0 to 255 divide by 255 or convert to uint8, for small overshoots use images.clamp(0, 1)"
        if low < -1 - TOLERANCE:
            cause = "undo their normalisation by mean and standard deviation"
        elif low < -TOLERANCE:
            cause = "for [-1, 1] use images / 2 + 0.5, for small overshoots images.clamp(0, 1)"
        raise UserError(f"{where}: expected floats in [0, 1], got {low:.4g} to {high:.4g}; {cause}.")
    found = torch.empty(images.shape, dtype=torch.uint8)
    for part, into in zip(images.split(AT_ONCE), found.split(AT_ONCE), strict=True):
        into.copy_(to_uint8(part))
    return found


def _complete(splits: Splits, config: DataConfig) -> Splits:
    """All three splits under one fingerprint; a missing validation split is drawn from the training images."""
    train, n = splits["train"], len(splits["train"])
    marks = [splits[name].fingerprint for name in SPLITS if name in splits]
    if not len(splits.get("val", ())):
        if n < FEWEST:
            raise UserError(f"data: expected at least {FEWEST} images to draw a validation split from, got {n}.")
        ranked = sorted(range(n), key=lambda row: hashlib.sha256(f"{config.split_seed}/{row}".encode()).digest())
        held_out = torch.zeros(n, dtype=torch.bool)
        held_out[ranked[: max(2, round(SHARE * n))]] = True
        splits = splits | {"train": train.rows(~held_out), "val": train.rows(held_out)}
        marks.append(f"val drawn with seed {config.split_seed}")
    splits = {"test": train.rows(slice(0))} | splits
    if len({part.names for part in splits.values()}) > 1:
        raise UserError("data: the splits have different attributes; give all of them the same names, or none.")
    if config.train_images is not None:
        splits["train"] = splits["train"].subset(config.train_images)
    mark = marks[0] if len(set(marks)) == 1 else hashlib.sha256("/".join(marks).encode()).hexdigest()
    return {name: replace(splits[name], fingerprint=mark) for name in SPLITS}


def _fingerprinted(part: Faces) -> Faces:
    """The faces with a digest of their content, if they have none yet."""
    if part.fingerprint:
        return part
    digest = hashlib.blake2b(repr((tuple(part.images.shape), part.names)).encode(), digest_size=32)
    for array in (part.images, part.attributes):
        digest.update(np.ascontiguousarray(array.cpu().numpy()).data)
    return replace(part, fingerprint=digest.hexdigest())
