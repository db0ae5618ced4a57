"""Safe (no pickle), atomic, checksummed tensor files."""

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

from dfcvae.errors import UserError
from dfcvae.files import LFS_HINT, atomic_file, is_lfs_pointer

CHECKSUM = "sha256"  # key in the metadata of a safetensors file
FORMAT = "format"  # the key that other programs add when they save a file again
CHECKSUM_MISMATCH = "checksum mismatch"


class UnreadableError(Exception):
    """A file cannot be read safely as tensors; the text is a short reason."""


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the sorted names and the bytes of named tensors."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> Path:
    """Write safetensors with metadata and a checksum of both. Tensors that share memory are written each in full.

    Raises:
        OSError: if it cannot be written.
    """
    path, about = Path(path), dict(about or {})
    plain: dict[str, Tensor] = {}
    seen = set()  # safetensors refuses tied weights
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous().cpu()
        place = tensor.untyped_storage().data_ptr()
        plain[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    try:
        with atomic_file(path) as temporary:
            save_file(plain, temporary, about | {CHECKSUM: _checksum(plain, about)})
    except SafetensorError as error:  # raised for a full disk or missing permissions
        raise OSError(str(error)) from error
    return path


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and metadata of a safetensors file, with the checksum verified if `write_tensors` wrote it.

    Raises:
        UnreadableError: if it is not such a file, or is corrupted.
        UserError: if it is a git-lfs pointer.
    """
    _refuse_pointer(path)
    try:
        with safe_open(path, framework="pt") as file:
            about = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise UnreadableError(str(error)) from error
    checksum = about.pop(CHECKSUM, None)  # files of other programs have none
    if checksum is not None and checksum != _checksum(tensors, about):
        raise UnreadableError(CHECKSUM_MISMATCH)
    return tensors, about


def read_pickled(path: str | Path) -> Any:
    """What ``torch.save`` wrote, on the CPU; no code in it is executed (``weights_only``).

    ``torch.load`` ignores the checksums in the file, which is a zip; they are verified here.

    Raises:
        UnreadableError: if it is not such a file, is corrupted, or contains more than tensors and plain values.
        UserError: if it is a git-lfs pointer.
    """
    _refuse_pointer(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise UnreadableError(CHECKSUM_MISMATCH)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnreadableError:
        raise
    except Exception as error:  # torch.load raises many types for other files
        # omit its message, which recommends to execute the file's code
        raise UnreadableError(
            f"it is truncated, or contains more than tensors and plain values: {type(error).__name__}"
        ) from error


def _refuse_pointer(path: str | Path) -> None:
    if is_lfs_pointer(path):
        raise UserError(f"{path} cannot be read. {LFS_HINT}")


def _checksum(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    about = {key: value for key, value in about.items() if key != FORMAT}
    return hashlib.sha256((json.dumps(about, sort_keys=True) + digest(tensors)).encode()).hexdigest()
