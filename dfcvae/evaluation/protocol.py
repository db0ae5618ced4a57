"""The protocol card: what one must know to compare the numbers of an evaluation with those of another."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfcvae.config import DataConfig
from dfcvae.data import source_name
from dfcvae.evaluation.intervals import LEVEL, RESAMPLES
from dfcvae.evaluation.judges import NetworkJudge
from dfcvae.latent import Prior
from dfcvae.tensorfiles import digest as digest_of_tensors
from dfcvae.vae import VAE, digest
from dfcvae.weights import read_metadata

ATTRIBUTE_JUDGE = "attribute-trained judge"


def protocol(
    vae: VAE,
    data: DataConfig,
    *,
    images: int,
    judge: Path | None,
    judges: Sequence[NetworkJudge] = (),
    samples: int,
    mixture: Prior | None = None,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Plain values by name, none of which tells where on this machine something lies.

    Args:
        vae: the model.
        data: where its images came from.
        images: how many of the test split were measured.
        judge: file of the attribute network that judged, if one did.
        judges: networks of other kinds that judged.
        samples: images in each set of samples that was compared; 0 for none.
        mixture: the fitted prior that samples were drawn from too, if one was.
        draws: latents drawn from each posterior.
        seed: of samples, draws and resampled images.
    """
    colour = "RGB" if data.channels == 3 else "grey"
    card: dict[str, Any] = {
        "model": digest(vae),
        "network": f"{vae.config['network']}, {vae.latent_dim} latent dimensions",
        "data": f"{source_name(data)}, test split, {images} images",
        "split_seed": data.split_seed,
        "pixels": f"{data.size}x{data.size} {colour}, crop {data.crop}, {data.filter}",
    }
    if judge is not None:
        about = read_metadata(judge)
        card["judge"] = f"{ATTRIBUTE_JUDGE}: {about['arch']}, width {about['width']}"
        card["judge_sha256"] = hashlib.sha256(judge.read_bytes()).hexdigest()
    if judges:
        card["judges"] = {network.name: network.card() for network in judges}
        card["strangers"] = "each test image against the one a third of the test split farther on"
    if samples:
        card["samples"] = f"{samples} in each set, from N(0, I)"
    if samples and mixture is not None:
        card["samples"] += f" and from what was fitted to the latents: {mixture}"
        tensors = {"weights": mixture.weights, "means": mixture.means, "factors": mixture.factors}
        card["mixture_sha256"] = digest_of_tensors(tensors)
    intervals = f"{100 * LEVEL:g} %, {RESAMPLES} resamples of the images"
    return card | {"draws": draws, "seed": seed, "intervals": intervals}
