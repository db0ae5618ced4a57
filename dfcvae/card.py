"""The model card: what a model is, what it was trained on and how, its measures, its use, licence and limits."""

from collections.abc import Sequence
from typing import Any

from dfcvae.losses import PRESETS
from dfcvae.report.tables import AT_FIRST, DIRECTIONS, in_order, known

CARD = """---
{header}
---

# {title}

A {kind} of faces of {size} x {size} pixels{made}.

![samples](samples.jpg)

*Draws from {prior}, not selected.*

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

{measures}## Limits

The model draws faces like its training data: of that crop and pose, and with that data's biases, but blurred. An
attribute vector holds whatever goes with the attribute in these data. Another judge gives other distances.

## Data and licence

{licence}
"""
MEASURES = """## Measures on the test split

{about}{reading}

{tables}

"""
HEADER = "| measure | value | 95 % interval | |\n|---|---|---|---|"
CELEBA_TERMS = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
CELEBA = (
    "CelebA is available for non-commercial research purposes only, and its images are the property of their owners "
    f"([terms]({CELEBA_TERMS})). No image of it is in this folder. Do not use the "
    "model commercially, or to identify or judge people."
)
SYNTHETIC = "The program draws the faces itself; no image of a person was used."
OTHER = "The terms of the training data apply to whatever is made with the model."
AUTO = " (148 of the 178 columns of an aligned CelebA image, else the largest square)"
LICENCES = {  # as the Hugging Face Hub names them
    CELEBA: f"license: other\nlicense_name: celeba-non-commercial-research\nlicense_link: {CELEBA_TERMS}",
    SYNTHETIC: "license: mit",
    OTHER: "license: unknown",
}


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
        name: of the folder or the model, as commands take it.
        vae: constructor arguments of the VAE.
        config: the experiment without paths; empty if it is not known.
        training: see `of_training`.
        dtype: dtype of the weights in the file.
        prior: description of where samples come from.
        attributes: names of those that can be edited.
    """
    data, loss, set_up = (config.get(key, {}) for key in ("data", "loss", "training"))
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
            "optimiser": f"Adam, batch size {set_up['batch_size']}, learning rate {set_up['learning_rate']:g} "
            f"({set_up['schedule']}), seed {set_up['seed']}",
            "precision in training": set_up["precision"],
        }
    facts["weights in the file"] = f"{dtype}; they load as float32"
    facts |= {key: training[key] for key in ("epochs", "steps", "commit") if key in training}
    if "fingerprint" in training:
        facts["fingerprint of the data"] = f"`{training['fingerprint'][:16]}`"
    edited = "Smiling" if "Smiling" in attributes else "".join(attributes[:1])
    licence = CELEBA if "celeba" in source.lower() else SYNTHETIC if source == "synthetic" else OTHER
    return CARD.format(
        header=_header(licence, bool(loss.get("features"))),
        title=name.rpartition("/")[2],
        name=name,
        prior=prior if prior == "N(0, I)" else f"the fitted {prior}",
        kind=kind if loss else "variational autoencoder",
        size=vae["size"],
        made=", made with dfcvae" if loss else "",
        facts="\n".join(f"| {what} | {value} |" for what, value in facts.items()),
        edit=f"dfcvae edit {name} photo.jpg {edited}=+1.5 --out edited.png\n" if edited else "",
        measures=_measures(training),
        licence=licence,
    )


def _header(licence: str, perceptual: bool) -> str:
    """The YAML that the Hugging Face Hub reads."""
    tags = ["vae", "variational-autoencoder", "faces", "pytorch", *["dfc-vae", "perceptual-loss"] * perceptual]
    library = "library_name: dfcvae\npipeline_tag: unconditional-image-generation\ntags:\n"
    return f"{LICENCES[licence]}\n{library}" + "\n".join(f"- {tag}" for tag in tags)


def _measures(training: dict[str, Any]) -> str:
    """The table of measures with their intervals, and who judged; empty if there are none."""
    found = {key: training.get(key) for key in ("measures", "intervals", "protocol")}
    measures, intervals, protocol = (value if isinstance(value, dict) else {} for value in found.values())
    if not measures:
        return ""
    about = [f"Measured on {protocol['data']}."] if "data" in protocol else []
    judges = ", ".join(f"{name} ({network})" for name, network in protocol.get("judges", {}).items())
    about += [f"Judges: {judges}."] if judges else []
    rows = []
    for name in in_order(measures):
        label, interval = known(name), " to ".join(f"{end:.4g}" for end in intervals.get(name, ()))
        meaning = label.meaning if label else ""
        rows.append(f"| {label or name} | {measures[name]:.4g} | {interval} | {meaning} |")
    first, rest = ("\n".join([HEADER, *part]) for part in (rows[:AT_FIRST], rows[AT_FIRST:]))
    tables = (
        f"{first}\n\n<details><summary>All measures</summary>\n\n{rest}\n\n</details>" if rows[AT_FIRST:] else first
    )
    return MEASURES.format(about=" ".join([*about, ""]), reading=f"{DIRECTIONS}.", tables=tables)


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
