"""The pictures of the README, drawn from the data behind the figures of a report of `dfcvae paper`, without originals.

    python experiments/gallery.py paper experiments/results/paper

CelebA's images may not be shown in a repository; what models make of them may. `dfcvae paper` keeps the latents of
every figure in `figures/*.npz`; here they are decoded again by the models of seed 0.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from dfcvae.latent import interpolate
from dfcvae.paper.figures import STRENGTHS
from dfcvae.paper.variants import TITLES
from dfcvae.plots import labelled_grid
from dfcvae.vae import VAE

STEPS = 10


def main(paper: Path, out: Path) -> None:
    """Write four pictures."""
    out.mkdir(parents=True, exist_ok=True)
    models = {TITLES[name]: VAE.load(paper / "runs" / f"{name}-0") for name in TITLES}

    def data(figure: str) -> dict[str, torch.Tensor]:
        with np.load(paper / "figures" / f"{figure}.npz") as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}

    def draw(name: str, rows: list[torch.Tensor], labels: list[str], columns: list[str] | None = None) -> None:
        labelled_grid(torch.stack(rows), labels, columns or []).savefig(out / f"{name}.jpg", pil_kwargs={"quality": 88})

    mu, z = data("reconstructions"), data("samples")["z"]
    draw("reconstructions", [vae.decode_all(mu[f"mu {name}"]) for name, vae in models.items()], list(models))
    count = len(mu[f"mu {next(iter(models))}"])
    draw("samples", [vae.decode_all(z[:count, : vae.latent_dim]) for vae in models.values()], list(models))
    ends = data("interpolations")
    draw(
        "interpolation",
        [vae.decode_all(interpolate(*ends[f"mu {name} 0"], STEPS)) for name, vae in models.items()],
        list(models),
    )
    walks = data("attribute-walks")
    labels = [key for key in walks if key.endswith(f" {list(models)[-1]}")]
    attributes = [label.removesuffix(f" {list(models)[-1]}") for label in labels]
    shown = {name: models[name] for name in (next(iter(models)), list(models)[-1])}  # the plain VAE and the DFC-VAE
    draw(
        "attribute-walks",
        [vae.decode_all(walks[f"{attribute} {name}"]) for attribute in attributes for name, vae in shown.items()],
        [f"{attribute}\n{name}" for attribute in attributes for name in shown],
        [f"{strength:+g}" for strength in STRENGTHS],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
