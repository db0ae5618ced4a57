"""Files of what was fitted to the latents of one model: useless, and misleading, with any other."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dfcvae.errors import UserError


class OtherModelError(UserError):
    """A file was fitted to another model, or to this one before it was trained further."""


def write_stored(path: str | Path, tensors: dict[str, Tensor], kind: str, model: str, about: dict[str, Any]) -> Path:
    """Write tensors as safetensors, with what they are and the digest of the model they were fitted to.

    The file appears whole or not at all.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"dfcvae": json.dumps({"kind": kind, "model": model} | about)}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
    temporary.replace(path)
    return path


def read_stored(path: str | Path, kind: str, model: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_stored` wrote: the tensors, and what it says of them.

    Raises:
        UserError: if the file is damaged, holds something else, or belongs to another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["dfcvae"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            wrong = about["kind"] != kind
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} holds no {kind}, or is damaged ({type(error).__name__}); delete it.") from error
    if wrong:
        raise UserError(f"{path} holds {about['kind']}, but {kind} were expected.")
    if about["model"] != model:
        raise OtherModelError(f"{path} was fitted to another model than this one; was it trained further? Fit it anew.")
    return tensors, about
