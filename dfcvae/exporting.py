"""Export a run to a folder that can be shared: weights, fitted priors and attribute vectors, and a model card."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dfcvae.checkpoint import find_model, last_component, load_checkpoint, public_config, read_model
from dfcvae.files import write_atomically
from dfcvae.fitted import VECTORS, latent_folder
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.latent.stored import OtherFitError, read_stored
from dfcvae.losses import PRESETS
from dfcvae.vae import VAE, digest

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
MIXTURE = "prior-gmm.safetensors"
FITTED = {"prior-gaussian.safetensors": "a prior", MIXTURE: "a prior", VECTORS: "attribute vectors"}
TEST = "test.json"  # in a run folder, from `dfcvae evaluate RUN --out RUN/test.json`


def export_model(model: str | Path, out: str | Path, dtype: str = "float32") -> Path:
    """Write ``model.safetensors``, ``model.json``, ``README.md`` (a model card) and the folder ``latent``.

    The folder contains no path of this machine: data sets and weights files are reduced to their names, and the data
    set is identified by its fingerprint.

    Half precision rounds the weights, which changes pixels by a fraction of a level of 255. The priors and attribute
    vectors in ``latent`` are copied and tied to the rounded weights (`dfcvae.vae.digest` of the loaded model).

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a shipped model.
        out: the folder, created if it is missing.
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``, of weights, vectors and covariances in the files.

    Raises:
        UserError: if there is no model, or a weight is too large for ``dtype``.
    """
    out, stored = Path(out), DTYPES[dtype]
    about, _ = read_model(model)
    vae, config, training = VAE.load(model), public_config(about["config"]), of_training(model, about)
    fitted = _load_fitted(latent_folder(model), digest(vae))  # before writing: out may be the same folder
    vae.save(out, about["config"], dtype=stored, training=training)
    exported = digest(VAE.load(out.absolute()))
    for name in FITTED:
        if name in fitted:
            fit, source = fitted[name]
            fit.save(out / "latent" / name, exported, source, stored)
        else:  # of an earlier export to the same folder
            (out / "latent" / name).unlink(missing_ok=True)
    mixture, vectors = fitted.get(MIXTURE), fitted.get(VECTORS)
    attributes = vectors[0].names if vectors and isinstance(vectors[0], AttributeVectors) else ()
    prior = str(mixture[0]) if mixture else "N(0, I)"
    write_atomically(
        out / "README.md", card(out.absolute().name, vae.config, config, training, dtype, prior, attributes)
    )
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


def of_training(model: str | Path, about: dict[str, Any]) -> dict[str, Any]:
    """Facts about a training: epochs, steps, commit, versions, and measures on the test split if there are any."""
    file = find_model(model)
    if file.suffix == ".safetensors":
        return dict(about["training"])
    run, checkpoint = file.parent.parent, load_checkpoint(file)
    environment, tested = _read_json(run / "environment.json"), _read_json(run / TEST)
    versions = environment.get("versions")
    found = {
        "epochs": checkpoint.get("epoch"),
        "steps": checkpoint.get("step"),
        "images": _read_json(run / "cost.json").get("images"),
        "commit": environment.get("commit"),
        "versions": versions if isinstance(versions, dict) else None,
        "fingerprint": about.get("fingerprint"),
        "measures": {name: value for name, value in tested.items() if isinstance(value, float)},
    }
    return {name: value for name, value in found.items() if value}


def _read_json(file: Path) -> dict[str, Any]:
    """The content of a JSON file of a run; empty, which shortens the card, if it is missing or corrupted."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


CARD = """# {name}

A {kind} of faces of {size} x {size} pixels{made}.

| | |
|---|---|
{facts}

## Use

```bash
dfcvae sample {name} --out samples.png
{edit}dfcvae explore {name}
```

```python
from dfcvae import VAE, load_prior

vae = VAE.load("{name}")
images = vae.decode_all(load_prior("{name}").sample(16))  # (16, C, H, W) in [0, 1]
```

{measures}## Data and licence

{licence}
"""
MEASURES = """## Measures on the test split

| | |
|---|---|
{}

"""
CELEBA = (
    "CelebA is available for non-commercial research purposes only, and its images are the property of their owners "
    "([terms](https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)). No image of it is in this folder. Do not use the "
    "model commercially, or to identify or judge people."
)
SYNTHETIC = "The program draws the faces itself; no image of a person was used."
OTHER = "The terms of the training data apply to whatever is made with the model."
AUTO = " (148 of the 178 columns of an aligned CelebA image, else the largest square)"
FIRST_MEASURES = ("mse", "ssim", "sharpness", "kl", "active_units")


def card(
    name: str,
    vae: dict[str, Any],
    config: dict[str, Any],
    training: dict[str, Any],
    dtype: str,
    prior: str,
    attributes: Sequence[str] = (),
) -> str:
    """The model card, in Markdown.

    Args:
        name: name of the folder or the model.
        vae: constructor arguments of the VAE.
        config: the experiment without paths; empty if it is not known.
        training: see `of_training`.
        dtype: dtype of the weights in the file.
        prior: description of where samples come from.
        attributes: names of those that can be edited.
    """
    data, loss, measures = config.get("data", {}), config.get("loss", {}), training.get("measures", {})
    source = str(data.get("source", ""))
    kind = "DFC-VAE, trained with a feature-perceptual loss," if loss.get("features") else "plain VAE"
    facts = {
        "network": f"`{vae['network']}`, {vae['latent_dim']} latent dimensions, {vae['size']} px, "
        f"{'grey' if vae['channels'] == 1 else 'RGB'}",
        "samples come from": prior if prior == "N(0, I)" else f"a {prior} fitted to the latents of the training images",
    }
    if config:
        facts |= {
            "data": f"`{source}`, crop {data['crop']}{AUTO * (data['crop'] == 'auto')}, {data['filter']}",
            "objective": f"`{_objective(loss)}`, scale {loss['scale']}",
            "alpha (KL weight)": loss["alpha"],
            "precision in training": config["training"]["precision"],
        }
    facts["weights in the file"] = f"{dtype}; they load as float32"
    facts |= {key: training[key] for key in ("epochs", "steps", "commit") if key in training}
    if "fingerprint" in training:
        facts["fingerprint of the data"] = f"`{training['fingerprint'][:16]}`"
    shown = [name for name in FIRST_MEASURES if name in measures] + sorted(measures.keys() - set(FIRST_MEASURES))
    rows = "\n".join(f"| {name} | {measures[name]:.4g} |" for name in shown)
    edited = "Smiling" if "Smiling" in attributes else "".join(attributes[:1])
    return CARD.format(
        name=name,
        kind=kind if loss else "variational autoencoder",
        size=vae["size"],
        made=", made with dfcvae" if loss else "",
        facts="\n".join(f"| {what} | {value} |" for what, value in facts.items()),
        edit=f"dfcvae edit {name} photo.jpg {edited}=+1.5 --out edited.png\n" if edited else "",
        measures=MEASURES.format(rows) if rows else "",
        licence=CELEBA if "celeba" in source.lower() else SYNTHETIC if source == "synthetic" else OTHER,
    )


def _objective(loss: dict[str, Any]) -> str:
    """The formula with its numbers."""
    features, reconstruction = loss.get("features"), f"{loss['pixel_weight']:g} pixel"
    if features:
        name, preset = features["preset"], PRESETS.get(features["preset"])
        layers = " ".join(map(str, features.get("layers") or (preset.layers if preset else ())))
        weights = f", layer weights {features['layer_weights']}" if features.get("layer_weights") is not None else ""
        reconstruction += (
            f" + features ({name} with {features['weights']} weights{f': {layers}' * bool(layers)}{weights})"
        )
    return f"{loss['alpha']:g} KL + {loss['beta']:g} ({reconstruction})"
