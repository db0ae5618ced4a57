"""The model card of an exported model."""

from collections.abc import Sequence
from typing import Any

from dfcvae.losses import PRESETS

CELEBA = (
    "CelebA is available for non-commercial research purposes only, and its images are the property of their owners "
    "([terms](https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)). No image of it is in this folder. Do not use the "
    "model commercially, or to identify or judge people."
)
SYNTHETIC = "The program draws the faces itself; no image of a person was used."
OTHER = "The terms of that data apply to what is made from the model."
AUTO = " (148 of the 178 columns of an aligned CelebA image, else the largest square)"
MEASURES = ("mse", "ssim", "sharpness", "kl", "active_units")  # shown first, if they are there


def card(
    name: str,
    vae: dict[str, Any],
    config: dict[str, Any],
    training: dict[str, Any],
    dtype: str,
    prior: str,
    attributes: Sequence[str] = (),
) -> str:
    """Markdown.

    Args:
        name: of the folder, or the model.
        vae: constructor arguments of the VAE.
        config: the experiment without paths; empty if it is not known.
        training: see `dfcvae.exporting.of_training`.
        dtype: of the weights in the file.
        prior: where samples come from, in words.
        attributes: that can be edited.
    """
    facts = "\n".join(f"| {what} | {value} |" for what, value in _facts(vae, config, training, dtype, prior).items())
    blocks = [
        f"# {name}",
        f"{_what(vae, config)}\n\n| | |\n|---|---|\n{facts}",
        _use(name, attributes),
        _measures(training),
    ]
    return "\n\n".join([*filter(None, blocks), f"## Data and licence\n\n{_licence(config)}"]) + "\n"


def _what(vae: dict[str, Any], config: dict[str, Any]) -> str:
    side, loss = vae["size"], config.get("loss", {})
    if not loss:
        return f"A variational autoencoder of faces of {side} x {side} pixels."
    kind = "DFC-VAE, trained with a feature-perceptual loss," if loss.get("features") else "plain VAE"
    return f"A {kind} of faces of {side} x {side} pixels, made with dfcvae."


def _facts(
    vae: dict[str, Any], config: dict[str, Any], training: dict[str, Any], dtype: str, prior: str
) -> dict[str, Any]:
    colours = "grey" if vae["channels"] == 1 else "RGB"
    facts = {
        "network": f"`{vae['network']}`, {vae['latent_dim']} latent dimensions, {vae['size']} px, {colours}",
        "samples come from": prior if prior == "N(0, I)" else f"a {prior} fitted to the latents of the training images",
    }
    if config:
        data, loss = config["data"], config["loss"]
        facts["data"] = f"`{data['source']}`, crop {data['crop']}{AUTO * (data['crop'] == 'auto')}, {data['filter']}"
        facts["objective"] = f"`{_objective(loss)}`, scale {loss['scale']}"
        facts |= {"alpha (KL weight)": loss["alpha"], "precision in training": config["training"]["precision"]}
    facts["weights in the file"] = f"{dtype}; they load as float32"
    for what, key in (("epochs", "epochs"), ("steps", "steps"), ("commit", "commit")):
        facts |= {what: training[key]} if key in training else {}
    return facts


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


def _use(name: str, attributes: Sequence[str]) -> str:
    edited = "Smiling" if "Smiling" in attributes else "".join(attributes[:1])
    edit = f"dfcvae edit {name} photo.jpg {edited}=+1.5 --out edited.png\n" if edited else ""
    return f"""## Use

```bash
dfcvae sample {name} --out samples.png
{edit}dfcvae explore {name}
```

```python
from dfcvae import VAE, load_prior

vae = VAE.load("{name}")
images = vae.decode_all(load_prior("{name}").sample(16))  # (16, C, H, W) in [0, 1]
```"""


def _measures(training: dict[str, Any]) -> str:
    measures = training.get("measures", {})
    names = [*(name for name in MEASURES if name in measures), *sorted(measures.keys() - set(MEASURES))]
    rows = "\n".join(f"| {name} | {measures[name]:.4g} |" for name in names)
    return f"## Measures on the test split\n\n| | |\n|---|---|\n{rows}" if rows else ""


def _licence(config: dict[str, Any]) -> str:
    source = str(config.get("data", {}).get("source", ""))
    if "celeba" in source.lower():
        return CELEBA
    return SYNTHETIC if source == "synthetic" else OTHER
