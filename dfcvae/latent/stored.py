"""Files of what was fitted to the latents of one model: useless, and misleading, with any other."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dfcvae.errors import UserError


class OtherFitError(UserError):
    """A file was fitted to other weights (of another model, or before this one was trained further) or other faces."""


def write_stored(
    path: str | Path, tensors: dict[str, Tensor], kind: str, model: str, source: str, about: dict[str, Any]
) -> Path:
    """Write tensors as safetensors, with what they are, and the digest of the model and the name of the data they fit.

    The file appears whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"dfcvae": json.dumps({"kind": kind, "model": model, "source": source} | about)}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
    except SafetensorError as error:  # what it makes of a full disk and of missing permissions
        raise OSError(str(error)) from error
    temporary.replace(path)
    return path


def read_stored(
    path: str | Path, kind: str, model: str, source: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_stored` wrote: the tensors, and what it says of them.

    Raises:
        UserError: if the file is damaged or holds something else.
        OtherFitError: if it was fitted to another model or other faces.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["dfcvae"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            wrong, _ = about["kind"] != kind, (about["model"], about["source"])  # all of which an older file may lack
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} holds no {kind}, or is damaged ({type(error).__name__}); delete it.") from error
    if wrong:
        raise UserError(f"{path} holds {about['kind']}, but {kind} were expected.")
    if about["model"] != model:
        raise OtherFitError(f"{path} was fitted to other weights: of another checkpoint, or before more training.")
    if source is not None and about["source"] != source:
        raise OtherFitError(f"{path} was fitted to the faces of {about['source']!r}, not of {source!r}.")
    return tensors, about
