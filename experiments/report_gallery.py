"""Pictures from a report of `dfcvae paper` or `dfcvae ablate`, without originals.

    python experiments/report_gallery.py paper experiments/results/paper
    python experiments/report_gallery.py studies/ablation_layers experiments/results/ablation --prefix layers-

CelebA's images may not be shown in a repository; what models make of them may. A report keeps the latents of every
figure in `figures/*.npz`; here they are decoded again by the models of seed 0.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dfcvae.latent import interpolate
from dfcvae.paper.figures import STRENGTHS
from dfcvae.paper.variants import TITLES
from dfcvae.plots import labelled_grid
from dfcvae.vae import VAE

STEPS = 10


@dataclass(frozen=True)
class Gallery:
    """The data of a report's figures, its models, and where pictures go."""

    report: Path
    out: Path
    prefix: str

    def data(self, figure: str) -> dict[str, torch.Tensor]:
        with np.load(self.report / "figures" / f"{figure}.npz") as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}

    def models(self) -> dict[str, VAE]:
        runs = {title: name for name, title in TITLES.items()}  # a study's variants are called as their runs
        titles = [key.removeprefix("mu ") for key in self.data("reconstructions")]
        return {title: VAE.load(self.report / "runs" / f"{runs.get(title, title)}-0") for title in titles}

    def draw(self, name: str, rows: list[torch.Tensor], labels: list[str], columns: list[str] | None = None) -> None:
        file = self.out / f"{self.prefix}{name}.jpg"
        labelled_grid(torch.stack(rows), labels, columns or []).savefig(file, pil_kwargs={"quality": 88})


def draw_models(gallery: Gallery, models: dict[str, VAE]) -> None:
    """The same faces and the same latents through every model."""
    mu, z = gallery.data("reconstructions"), gallery.data("samples")["z"]
    gallery.draw("reconstructions", [vae.decode_all(mu[f"mu {name}"]) for name, vae in models.items()], list(models))
    count = len(mu[f"mu {next(iter(models))}"])
    gallery.draw("samples", [vae.decode_all(z[:count, : vae.latent_dim]) for vae in models.values()], list(models))


def draw_ways(gallery: Gallery, models: dict[str, VAE]) -> None:
    """Between two faces, and along attribute vectors."""
    ends = gallery.data("interpolations")
    ways = [vae.decode_all(interpolate(*ends[f"mu {name} 0"], STEPS)) for name, vae in models.items()]
    gallery.draw("interpolation", ways, list(models))
    walks = gallery.data("attribute-walks")
    labels = [key for key in walks if key.endswith(f" {list(models)[-1]}")]
    attributes = [label.removesuffix(f" {list(models)[-1]}") for label in labels]
    shown = {name: models[name] for name in (next(iter(models)), list(models)[-1])}  # the plain VAE and the DFC-VAE
    gallery.draw(
        "attribute-walks",
        [vae.decode_all(walks[f"{attribute} {name}"]) for attribute in attributes for name, vae in shown.items()],
        [f"{attribute}\n{name}" for attribute in attributes for name in shown],
        [f"{strength:+g}" for strength in STRENGTHS],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="folder of a report of `dfcvae paper` or `dfcvae ablate`")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    parser.add_argument("--prefix", default="", help="of their names")
    gallery = Gallery(**vars(parser.parse_args()))
    gallery.out.mkdir(parents=True, exist_ok=True)
    models = gallery.models()
    draw_models(gallery, models)
    if (gallery.report / "figures" / "interpolations.npz").is_file():
        draw_ways(gallery, models)
