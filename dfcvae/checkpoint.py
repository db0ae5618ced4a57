"""Model files: run folders, training checkpoints, exported models and those that ship with the package.

A training checkpoint is a dict that loads with ``weights_only=True``: ``step``; ``vae`` and perhaps ``ema`` (weights),
``optimizer`` and ``likelihood`` (states); ``best``, the lowest ``val/total`` so far; and ``about``: the constructor's
arguments of the VAE (``vae``), the resolved experiment (``config``), the ``weights`` and ``scales`` of the terms,
whether features were cached (``targets_cached``), and the ``fingerprint`` of the data. ``best.ckpt`` holds no training
state, and under ``vae`` the weights that were validated: the EMA ones, if there are any. An exported model is
``model.safetensors`` with ``model.json``.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfcvae.errors import UserError, nearest
from dfcvae.files import atomic_file, atomic_files, pretrained_folder, pretrained_models
from dfcvae.hub import fetched, on_hub
from dfcvae.tensorfiles import UnreadableError, digest, read_pickled, read_tensors, write_tensors

State = dict[str, Tensor]


def find_model(path: str | Path) -> Path:
    """The file that holds the model of a run folder, an exported folder, a checkpoint, or a shipped model's name or
    ``hf:user/repo``.

    Raises:
        UserError: if there is none.
    """
    path = fetched(str(path)) if on_hub(path) else Path(path).expanduser()
    path = pretrained_folder(path) or path
    places = [path / "model.safetensors", path / "checkpoints" / "best.ckpt", path / "checkpoints" / "last.ckpt"]
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
    """A training checkpoint, on the CPU, without executing anything in it.

    Raises:
        UserError: if it is corrupted or something else.
    """
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
    """Write a checkpoint beside its target and rename it: a crash or a full disk leaves the old one intact.

    Raises:
        UserError: if it cannot be written.
    """
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
