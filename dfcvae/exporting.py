"""Export a run to a folder that can be shared: weights, fitted priors and attribute vectors, and a model card."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from dfcvae.card import card
from dfcvae.checkpoint import find_model, last_component, load_checkpoint, model_folder, public_config, read_model
from dfcvae.files import atomic_file, write_atomically
from dfcvae.fitted import VECTORS, latent_folder
from dfcvae.images import grid, to_image
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.latent.stored import OtherFitError, read_stored
from dfcvae.sheet import enlarge
from dfcvae.trained import Trained
from dfcvae.vae import VAE, digest

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
MIXTURE = "prior-gmm.safetensors"
FITTED = {"prior-gaussian.safetensors": "a prior", MIXTURE: "a prior", VECTORS: "attribute vectors"}
NARROW = 64  # pixels; narrower samples are enlarged
TEST = "test.json"  # in a run folder, from `dfcvae evaluate RUN --out RUN/test.json`


def export_model(model: str | Path, out: str | Path, dtype: str = "float32", name: str | None = None) -> Path:
    """Write ``model.safetensors``, ``model.json``, ``README.md`` (a model card), its ``samples.jpg``, and ``latent/``.

    The folder contains no path of this machine: data sets and weights files are reduced to their names, and the data
    set is identified by its fingerprint.

    Half precision rounds the weights, which changes pixels by a fraction of a level of 255. The priors and attribute
    vectors in ``latent`` are copied and tied to the rounded weights (`dfcvae.vae.digest` of the loaded model).

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a shipped model.
        out: the folder, created if it is missing.
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``, of weights, vectors and covariances in the files.
        name: what the model card calls the model (default: the name of the folder).

    Raises:
        UserError: if there is no model, or a weight is too large for ``dtype``.
    """
    out, stored = Path(out), DTYPES[dtype]
    about, _ = read_model(model)
    vae, config = VAE.load(model), public_config(about["config"])
    weights = digest(vae)
    training = of_training(model, about, weights)
    fitted = _load_fitted(latent_folder(model), weights)  # before writing: out may be the same folder
    vae.save(out, about["config"], dtype=stored, training=training)
    exported = Trained(out.absolute())
    exported_digest = digest(exported.vae)
    for file in FITTED:
        if file in fitted:
            fit, source = fitted[file]
            fit.save(out / "latent" / file, exported_digest, source, stored)
        else:  # of an earlier export to the same folder
            (out / "latent" / file).unlink(missing_ok=True)
    mixture, vectors = fitted.get(MIXTURE), fitted.get(VECTORS)
    attributes = vectors[0].names if vectors and isinstance(vectors[0], AttributeVectors) else ()
    prior = str(mixture[0]) if mixture else "N(0, I)"
    name = name or out.absolute().name
    write_atomically(out / "README.md", card(name, vae.config, config, training, dtype, prior, attributes))
    images = exported.decode(exported.draws(32))  # the picture of the model card
    with atomic_file(out / "samples.jpg") as temporary:
        to_image(grid(enlarge(images, -(-NARROW // images.shape[-1])))).save(temporary, "JPEG", quality=90)
    return out


def _load_fitted(folder: Path, model_digest: str) -> dict[str, tuple[Prior | AttributeVectors, str]]:
    """The priors and vectors saved with a model and the name of the data they were fitted to, by file name."""
    fitted: dict[str, tuple[Prior | AttributeVectors, str]] = {}
    for name, kind in FITTED.items():
        file = folder / name
        if file.is_file():
            try:
                fit = (AttributeVectors if name == VECTORS else Prior).load(file, model_digest)
                _, about = read_stored(file, kind, model_digest)
            except OtherFitError as error:
                print(f"Not exported: {error}", file=sys.stderr)
            else:
                fitted[name] = fit, last_component(str(about["source"]))
    return fitted


def of_training(model: str | Path, about: dict[str, Any], model_digest: str) -> dict[str, Any]:
    """Facts about a training: epochs, steps, commit, versions, and measures of this very model on the test split."""
    file = find_model(model)
    if file.suffix == ".safetensors":
        return dict(about["training"])
    run, checkpoint = model_folder(file), load_checkpoint(file)
    environment, tested = _read_json(run / "environment.json"), _read_json(run / TEST)
    protocol = tested.get("protocol")
    if isinstance(protocol, dict) and protocol.get("model", model_digest) != model_digest:
        print(
            f"Not exported: {run / TEST} has the measures of other weights. Repeat `dfcvae evaluate {run} --out "
            f"{run / TEST}` first.",
            file=sys.stderr,
        )
        tested = {}
    versions = environment.get("versions")
    found = {
        "epochs": checkpoint.get("epoch"),
        "steps": checkpoint.get("step"),
        "images": _read_json(run / "cost.json").get("images"),
        "commit": environment.get("commit"),
        "versions": versions if isinstance(versions, dict) else None,
        "fingerprint": about.get("fingerprint"),
        "measures": {name: value for name, value in tested.items() if isinstance(value, float)},
        "intervals": tested.get("intervals"),
        "protocol": _protocol(tested.get("protocol")),
    }
    return {name: value for name, value in found.items() if value}


def _protocol(protocol: Any) -> dict[str, Any]:
    """Of an evaluation's protocol: which images were measured, and the judges by name."""
    protocol = protocol if isinstance(protocol, dict) else {}
    named = protocol["judges"] if isinstance(protocol.get("judges"), dict) else {}
    judges = {name: str(about["network"]) for name, about in named.items() if "network" in about}
    judges |= {"judge": protocol["judge"]} if "judge" in protocol else {}
    return {name: value for name, value in {"data": protocol.get("data"), "judges": judges}.items() if value}


def _read_json(file: Path) -> dict[str, Any]:
    """The content of a JSON file of a run; empty, which shortens the card, if it is missing or corrupted."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
