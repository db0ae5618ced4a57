"""Files of what was fitted to the latents of one model: useless, and misleading, with any other."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from dfcvae.checkpoint import UnreadableError, read_tensors, write_tensors
from dfcvae.errors import UserError


class OtherFitError(UserError):
    """A file was fitted to other weights (of another model, or before this one was trained further) or other faces."""


class OtherFacesError(OtherFitError):
    """A file was fitted to the same weights and other faces."""


def corrupted(path: str | Path, kind: str, why: str) -> UserError:
    """The error for a corrupted or unrelated file."""
    return UserError(f"{path} does not contain {kind}, or is corrupted ({why}); delete it.")


def write_stored(
    path: str | Path, tensors: dict[str, Tensor], kind: str, model: str, source: str, about: dict[str, Any]
) -> Path:
    """Write safetensors with what they are, the digest of the model and the name of the data; atomically."""
    metadata = {"dfcvae": json.dumps({"kind": kind, "model": model, "source": source} | about)}
    return write_tensors(path, tensors, metadata)


def read_stored(
    path: str | Path, kind: str, model: str, source: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_stored` wrote: the tensors, and the description.

    An OtherFitError if it was fitted to another model, an OtherFacesError if to other faces; a UserError for any other
    file.
    """
    try:
        tensors, metadata = read_tensors(path)
        about = json.loads(metadata["dfcvae"])
        found = about["kind"], about["model"], about["source"]
    except UnreadableError as error:
        raise corrupted(path, kind, str(error)) from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise corrupted(path, kind, type(error).__name__) from error
    if found[0] != kind:
        raise UserError(f"{path}: expected {kind}, got {found[0]}.")
    if found[1] != model:
        raise OtherFitError(f"{path} was fitted to other weights: of another checkpoint, or before more training.")
    if source not in (None, found[2]):
        raise OtherFacesError(f"{path} was fitted to the faces of {found[2]!r}, not of {source!r}.")
    return tensors, about
