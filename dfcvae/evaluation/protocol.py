"""The protocol card: what one must know to compare the numbers of an evaluation with those of another."""

import hashlib
from pathlib import Path
from typing import Any

from dfcvae.config import DataConfig
from dfcvae.data import source_name
from dfcvae.evaluation.intervals import LEVEL, RESAMPLES
from dfcvae.vae import VAE, digest
from dfcvae.weights import read_metadata


def protocol(
    vae: VAE, data: DataConfig, *, images: int, judge: Path | None, samples: int, draws: int, seed: int
) -> dict[str, Any]:
    """Plain values by name, none of which tells where on this machine something lies.

    Args:
        vae: the model.
        data: where its images came from.
        images: how many of the test split were measured.
        judge: file of the attribute network that judged, if one did.
        samples: images in each set of samples that was compared; 0 for none.
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
        card["judge"] = f"{about['arch']}, width {about['width']}"
        card["judge_sha256"] = hashlib.sha256(judge.read_bytes()).hexdigest()
    if samples:
        card["samples"] = f"{samples} in each set, from N(0, I)"
    intervals = f"{100 * LEVEL:g} %, {RESAMPLES} resamples of the images"
    return card | {"draws": draws, "seed": seed, "intervals": intervals}
