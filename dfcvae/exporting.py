"""From a run to a folder that can be passed on: weights, what was fitted to them, and a model card."""

import json
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from dfcvae.card import card
from dfcvae.checkpoint import find_model, load_checkpoint, read_model
from dfcvae.config import DataConfig
from dfcvae.data import source_name
from dfcvae.files import write_whole
from dfcvae.fitted import VECTORS, latent_folder
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.latent.stored import OtherFitError, read_stored
from dfcvae.vae import VAE, digest

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
FITTED = ("prior-gaussian.safetensors", "prior-gmm.safetensors", VECTORS)
TEST = "test.json"  # in a run folder: what `dfcvae evaluate RUN --out RUN/test.json` wrote
Writer = Callable[[str], Path]  # of what was fitted, for the digest of the weights as they are exported


def export_model(model: str | Path, out: str | Path, dtype: str = "float32") -> Path:
    """Write ``model.safetensors``, ``model.json``, ``README.md`` (a model card) and the folder ``latent``.

    The folder holds no path of this machine: data sets and weights files are reduced to their names.

    Half precision rounds the weights. What was fitted to them, the priors and attribute vectors in ``latent``, is kept
    and tied to the rounded weights (`dfcvae.vae.digest` of the model as it loads), from which it hardly differs: the
    rounding moves pixels by a fraction of a level of 255.

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a shipped model.
        out: the folder, made if it is missing.
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``, of weights, vectors and covariances in the files.

    Raises:
        UserError: if there is no model, or a weight is too large for ``dtype``.
    """
    out, stored = Path(out), DTYPES[dtype]
    about, _ = read_model(model)
    vae, config, training = VAE.load(model), public_config(about["config"]), of_training(model, about)
    fitted = _fitted(model, digest(vae), out, stored)  # read before anything is written, perhaps in its place
    vae.save(out, config, dtype=stored, training=training)
    exported = digest(VAE.load(out.absolute()))
    written = {save(exported) for save in fitted}
    for name in FITTED:  # of an earlier export to the same folder
        if out / "latent" / name not in written:
            (out / "latent" / name).unlink(missing_ok=True)
    about_it = (out.absolute().name, vae.config, config, training, dtype)
    write_whole(out / "README.md", card(*about_it, *_kept(out / "latent", exported)))
    return out


def public_config(config: dict[str, Any]) -> dict[str, Any]:
    """A saved experiment without the paths of the machine it ran on: the names at their ends stay."""
    public = without_paths(deepcopy(config))
    if isinstance(config.get("data"), dict) and "source" in config["data"]:
        public["data"]["source"] = source_name(DataConfig(source=str(config["data"]["source"])))
    return dict(public)


def without_paths(value: Any) -> Any:
    """Plain values with every string that holds a path separator reduced to what follows the last one."""
    if isinstance(value, dict):
        return {key: without_paths(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_paths(entry) for entry in value]
    return Path(value.replace("\\", "/")).name if isinstance(value, str) and {"/", "\\"} & set(value) else value


def of_training(model: str | Path, about: dict[str, Any]) -> dict[str, Any]:
    """What is known of a training: epochs, steps, commit, versions, and measures on the test split if there are any."""
    file = find_model(model)
    if file.suffix == ".safetensors":
        return dict(about["training"])
    run, checkpoint = file.parent.parent, load_checkpoint(file)
    environment, tested = _json(run / "environment.json"), _json(run / TEST)
    versions = environment.get("versions") if isinstance(environment.get("versions"), dict) else None
    found = {
        "epochs": checkpoint["epoch"] + 1 if isinstance(checkpoint.get("epoch"), int) else None,
        "steps": checkpoint.get("global_step"),
        "images": _json(run / "cost.json").get("images"),
        "commit": environment.get("commit"),
        "versions": versions,
        "fingerprint": about.get("fingerprint"),
        "measures": {name: value for name, value in tested.items() if isinstance(value, float)},
    }
    return {name: value for name, value in found.items() if value}


def _json(file: Path) -> dict[str, Any]:
    """What a file of a run says; nothing, if it is missing or damaged: the card is then shorter."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _fitted(model: str | Path, model_digest: str, out: Path, dtype: torch.dtype) -> list[Writer]:
    """The priors and vectors kept beside a model, each as a function that writes it for another digest."""
    folder, copy = latent_folder(model), out / "latent"
    writers: list[Writer] = []
    for name in FITTED:
        file = folder / name
        if not file.is_file():
            continue
        try:
            kept = (AttributeVectors if name == VECTORS else Prior).load(file, model_digest)
        except OtherFitError as error:
            print(f"Left out: {error}", file=sys.stderr)
            continue
        _, about = read_stored(file, "attribute vectors" if name == VECTORS else "a prior", model_digest)
        writers.append(_writer(kept, copy / name, Path(str(about["source"])).name, dtype))
    return writers


def _writer(kept: Prior | AttributeVectors, file: Path, source: str, dtype: torch.dtype) -> Writer:
    return lambda model_digest: kept.save(file, model_digest, source, dtype)


def _kept(folder: Path, model_digest: str) -> tuple[str, tuple[str, ...]]:
    """The prior that samples of an exported model come from, in words, and the attributes that it has vectors of."""
    prior, vectors = folder / "prior-gmm.safetensors", folder / VECTORS
    return (
        str(Prior.load(prior, model_digest)) if prior.is_file() else "N(0, I)",
        AttributeVectors.load(vectors, model_digest).names if vectors.is_file() else (),
    )
