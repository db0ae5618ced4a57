"""Model files: safe (no pickle), atomic, checksummed tensors; training checkpoints and exported models.

A training checkpoint is a dict that loads with ``weights_only=True``: ``step``; ``vae`` and perhaps ``ema`` (weights),
``optimizer`` and ``likelihood`` (states); ``best``, the lowest ``val/total`` so far; and ``about``: the constructor's
arguments of the VAE (``vae``), the resolved experiment (``config``), the ``weights`` and ``scales`` of the terms,
whether features were cached (``targets_cached``), and the ``fingerprint`` of the data. ``best.ckpt`` holds no training
state, and under ``vae`` the weights that were validated: the EMA ones, if there are any. An exported model is
``model.safetensors`` with ``model.json``.
"""

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

from dfcvae.errors import UserError, nearest
from dfcvae.files import (
    LFS_HINT,
    atomic_file,
    atomic_files,
    is_lfs_pointer,
    on_hub,
    pretrained_folder,
    pretrained_models,
)

State = dict[str, Tensor]
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
    """Write safetensors with metadata and a checksum of both; an OSError if that fails."""
    path, about = Path(path), dict(about or {})
    # copies, since safetensors refuses tensors that share memory, such as tied weights
    plain = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    try:
        with atomic_file(path) as temporary:
            save_file(plain, temporary, about | {CHECKSUM: _checksum(plain, about)})
    except SafetensorError as error:  # raised for a full disk or missing permissions
        raise OSError(str(error)) from error
    return path


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and metadata of a safetensors file, with the checksum verified if `write_tensors` wrote it.

    Raises:
        UnreadableError: if it is not such a file, or is corrupted (UserError: a git-lfs pointer).
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


def find_model(path: str | Path) -> Path:
    """The file that holds the model of a run folder, an exported folder, a checkpoint, or a shipped model's name or
    ``hf:user/repo``.

    Raises:
        UserError: if there is none.
    """
    if on_hub(path):
        from dfcvae.hub import fetched  # which needs an extra package

        path = fetched(str(path))
    path = pretrained_folder(Path(path).expanduser()) or Path(path).expanduser()
    # an export into a run folder would hide what is trained later
    places = [path / "checkpoints" / "best.ckpt", path / "checkpoints" / "last.ckpt", path / "model.safetensors"]
    found = next((place for place in [path, *places] if place.is_file()), None)
    if found is None:
        shipped = pretrained_models() if path.name == str(path) else []  # a shipped model's name, perhaps
        others = f"Models that ship with the package: {', '.join(shipped)}{nearest(path, shipped)}."
        raise UserError(
            f"No model at {path}: expected a checkpoint (.ckpt), a run folder with checkpoints/best.ckpt, or an "
            "exported folder with model.safetensors. "
            + (others if shipped else "Train one with `dfcvae train` or `dfcvae demo`.")
        )
    return found


def model_folder(path: str | Path) -> Path:
    """The folder of a model: of a run, not of its checkpoints, or an exported one; errors as in `find_model`."""
    folder = find_model(path).parent
    return folder.parent if folder.name == "checkpoints" else folder


def read_model(path: str | Path) -> tuple[dict[str, Any], State]:
    """What a model file says about itself (``vae``, ``config``) and its weights, the EMA ones where there are any.

    An exported model says more about its training (``training``), see `dfcvae.VAE.save`.

    Raises:
        UserError: if there is no model at ``path``, or it is corrupted.
    """
    file = find_model(path)
    if file.suffix == ".safetensors":
        return _read_exported(file)
    checkpoint = load_checkpoint(file)
    return checkpoint["about"], checkpoint.get("ema") or checkpoint["vae"]


def load_checkpoint(file: Path) -> dict[str, Any]:
    """A training checkpoint, on the CPU, without executing anything in it; a UserError if it is something else."""
    try:
        checkpoint = read_pickled(file)
        about, state = checkpoint["about"], checkpoint["vae"] | checkpoint.get("ema", {})
        _check_description({name: about[name] for name in ("vae", "config")})
        if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
            raise TypeError("its weights are not tensors by name")
    except (UnreadableError, KeyError, TypeError, AttributeError, IndexError) as error:
        why = error if isinstance(error, UnreadableError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{file} is not a checkpoint of this version of dfcvae, or it is corrupted ({why}).") from error
    return checkpoint


def save_checkpoint(file: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint atomically; a UserError if that fails: a crash or a full disk leaves the old one intact."""
    try:
        with atomic_file(file) as temporary, temporary.open("wb") as opened:
            torch.save(checkpoint, opened)
    except OSError as error:
        raise UserError(
            f"Could not write the checkpoint of step {checkpoint.get('step')} to {file} ({error.strerror or error}); "
            "the previous one, if any, is intact. Free disk space or fix the permissions, then resume the run."
        ) from error


def export_model(folder: Path, about: dict[str, Any], state: State, dtype: torch.dtype) -> Path:
    """Write ``model.safetensors`` and ``model.json``, or neither.

    The description is ``about`` with two SHA-256: ``sha256`` of the file, and ``tensors_sha256`` of its named tensors,
    which stays when another program saves the same tensors again.

    Raises:
        UserError: if a weight is too large for ``dtype``.
    """
    stored = {name: _stored(tensor, dtype) for name, tensor in state.items()}
    with atomic_files(folder / "model.safetensors", folder / "model.json") as (file, description):
        write_tensors(file, stored)
        checksums = {"sha256": _sha256(file), "tensors_sha256": digest(stored)}
        about = {"vae": about["vae"], **checksums, "dtype": str(dtype).removeprefix("torch.")} | about
        description.write_text(json.dumps(about, indent=2) + "\n")
    return folder


def public_config(config: dict[str, Any]) -> dict[str, Any]:
    """A saved experiment in which paths of the machine, of this system or another, are reduced to a name."""

    def without_paths(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_paths(entry) for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [without_paths(entry) for entry in value]
        return last_component(value) if isinstance(value, str) else value

    public: dict[str, Any] = without_paths(config)
    if isinstance(data := config.get("data"), dict) and "source" in data:  # "." is a name only once it is resolved
        public["data"]["source"] = last_component(str(Path(str(data["source"])).expanduser().resolve()))
    return public


def last_component(path: str) -> str:
    """The name at the end of a path with slashes or backslashes; of other text, all of it."""
    return Path(path.replace("\\", "/")).name if {"/", "\\"} & set(path) else path


def _read_exported(file: Path) -> tuple[dict[str, Any], State]:
    description = file.with_suffix(".json")
    try:
        about = json.loads(description.read_text())
        known = {key: about[key] for key in ("vae", "config", "sha256")}
        tensors_sha256 = about.get("tensors_sha256")  # absent in older exports, like the next
        about = known | {"training": about.get("training", {})}
        _check_description(about)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{file} needs the description that `dfcvae export` writes beside it, but {description.name} is missing "
            f"or corrupted ({type(error).__name__}); export the model again."
        ) from error
    intact = about["sha256"] == _sha256(file)
    try:
        state = read_tensors(file)[0]
    except UnreadableError as error:
        if intact:
            raise UserError(f"{file} is not a safetensors file ({error}); export the model again.") from error
        state = {}
    if not intact and tensors_sha256 != digest(state):
        raise UserError(f"{file} is corrupted: checksum mismatch with {description.name}; export the model again.")
    return about, state


def _check_description(about: dict[str, Any]) -> None:
    """Raise a TypeError unless a model is described by its constructor's arguments and a (perhaps empty) experiment."""
    shape = about["vae"]
    if not isinstance(shape, dict) or {type(shape[key]) for key in ("size", "channels", "latent_dim")} != {int}:
        raise TypeError("its description is not that of a VAE")
    if not isinstance(about["config"], dict) or not isinstance(about.get("training", {}), dict):
        raise TypeError("its experiment is not a mapping")


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor of a state dict as it is exported: matrices and filters rounded, vectors and counters unchanged.

    Vectors (biases, batch norm) are a thousandth of the numbers, and their variances may not fit into float16.
    """
    if not tensor.is_floating_point() or tensor.dim() < 2:
        return tensor
    rounded = tensor.to(dtype)
    if tensor.isfinite().all() and not rounded.isfinite().all():
        largest = float(tensor.abs().max())
        raise UserError(f"A weight of {largest:.3g} is too large for {dtype}; export with --dtype bfloat16 or float32.")
    return rounded


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
