"""Files of tensors: nothing in them is executed, they appear whole or not at all, and a flipped bit is noticed."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dfcvae.files import whole

CHECKSUM = "sha256"  # key among the text entries of a safetensors file
OTHER_CHECKSUM = "its checksum is not the one it was written with"


class UnreadableError(Exception):
    """A file holds no tensors that can be read safely; the text is a short clause that says why."""


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors by name: of the names in order, and of the bytes of each."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> Path:
    """Write safetensors with text entries and a checksum of all of it.

    Raises:
        OSError: if it cannot be written.
    """
    path, about = Path(path), dict(about or {})
    plain = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    try:
        with whole(path) as temporary:
            save_file(plain, temporary, about | {CHECKSUM: _checksum(plain, about)})
    except SafetensorError as error:  # what it makes of a full disk and of missing permissions
        raise OSError(str(error)) from error
    return path


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and text entries of a safetensors file; checked, if it is one of `write_tensors`.

    Raises:
        UnreadableError: it is no such file, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError) as error:
        raise UnreadableError(str(error)) from error
    checksum = about.pop(CHECKSUM, None)  # files of other programs have none
    if checksum is not None and checksum != _checksum(tensors, about):
        raise UnreadableError(OTHER_CHECKSUM)
    return tensors, about


def read_pickled(path: str | Path) -> Any:
    """What ``torch.save`` wrote, on the CPU; nothing in it is executed (``weights_only``).

    ``torch.load`` does not look at the checksums that ``torch.save`` puts into the file, which is a zip.

    Raises:
        UnreadableError: it is no such file, damaged, or holds more than tensors and plain values.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise UnreadableError(OTHER_CHECKSUM)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnreadableError:
        raise
    except Exception as error:  # torch.load raises many kinds for a file that is something else
        # without its words, which advise to execute what is in the file
        raise UnreadableError(
            f"it is cut short, or holds more than tensors and plain values: {type(error).__name__}"
        ) from error


def _checksum(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    return hashlib.sha256((json.dumps(about, sort_keys=True) + digest(tensors)).encode()).hexdigest()
