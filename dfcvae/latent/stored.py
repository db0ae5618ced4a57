"""Files of what was fitted to the latents of one model: useless, and misleading, with any other."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from dfcvae.errors import UserError
from dfcvae.tensorfiles import UnreadableError, read_tensors, write_tensors


class OtherFitError(UserError):
    """A file was fitted to other weights (of another model, or before this one was trained further) or other faces."""


def damaged(path: str | Path, kind: str, why: str) -> UserError:
    """The sentence for a file that is not what it should be."""
    return UserError(f"{path} does not hold {kind}, or is damaged ({why}); delete it.")


def write_stored(
    path: str | Path, tensors: dict[str, Tensor], kind: str, model: str, source: str, about: dict[str, Any]
) -> Path:
    """Write tensors as safetensors, with what they are, and the digest of the model and the name of the data they fit.

    The file appears whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    metadata = {"dfcvae": json.dumps({"kind": kind, "model": model, "source": source} | about)}
    return write_tensors(path, tensors, metadata)


def read_stored(
    path: str | Path, kind: str, model: str, source: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_stored` wrote: the tensors, and what it says of them.

    Raises:
        UserError: if the file is damaged or holds something else.
        OtherFitError: if it was fitted to another model or other faces.
    """
    try:
        tensors, metadata = read_tensors(path)
        about = json.loads(metadata["dfcvae"])
        wrong, _ = about["kind"] != kind, (about["model"], about["source"])  # all of which an older file may lack
    except UnreadableError as error:
        raise damaged(path, kind, str(error)) from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(path, kind, type(error).__name__) from error
    if wrong:
        raise UserError(f"{path} holds {about['kind']} instead of {kind}.")
    if about["model"] != model:
        raise OtherFitError(f"{path} was fitted to other weights: of another checkpoint, or before more training.")
    if source is not None and about["source"] != source:
        raise OtherFitError(f"{path} was fitted to the faces of {about['source']!r}, not of {source!r}.")
    return tensors, about
