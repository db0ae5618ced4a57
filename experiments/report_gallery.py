"""Pictures from a report of `dfcvae paper` or `dfcvae ablate`, without originals.

    python experiments/report_gallery.py paper experiments/results/paper
    python experiments/report_gallery.py studies/ablation_layers experiments/results/ablation --prefix layers-

CelebA's images may not be published in a repository; outputs of models may. A report stores the latents of every
figure in `figures/*.npz`; here they are decoded again by the models of seed 0.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from dfcvae.latent import interpolate
from dfcvae.paper import TITLES
from dfcvae.plots import labelled_grid
from dfcvae.report.pictures import STRENGTHS
from dfcvae.vae import VAE

STEPS = 10

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("report", type=Path, help="folder of a report of `dfcvae paper` or `dfcvae ablate`")
parser.add_argument("out", type=Path, help="folder of the pictures")
parser.add_argument("--prefix", default="", help="of their names")
arguments = parser.parse_args()
arguments.out.mkdir(parents=True, exist_ok=True)


def data(figure: str) -> dict[str, torch.Tensor]:
    """The arrays that a figure of the report was drawn from; none if there is no such figure."""
    file = arguments.report / "figures" / f"{figure}.npz"
    return {name: torch.from_numpy(array) for name, array in np.load(file).items()} if file.is_file() else {}


def draw(name: str, rows: dict[str, torch.Tensor], columns: list[str] | None = None) -> None:
    """Rows of images by label, as JPEG."""
    figure = labelled_grid(torch.stack(list(rows.values())), list(rows), columns or [])
    figure.savefig(arguments.out / f"{arguments.prefix}{name}.jpg", pil_kwargs={"quality": 88})


mu = {key.removeprefix("mu "): latents for key, latents in data("reconstructions").items()}
folders = {title: name for name, title in TITLES.items()}  # a study's variants have the names of their runs
models = {
    name: VAE.load(arguments.report / "runs" / f"{folders.get(name, name)}-0" / "checkpoints" / "last.ckpt")
    for name in mu
}
draw("reconstructions", {name: vae.decode_all(mu[name]) for name, vae in models.items()})
drawn, rows = data("samples"), {}
for name, vae in models.items():
    own = {f"{name}\nmixture": drawn[f"z {name}"], f"{name}\nN(0, I)": drawn["z"]} if f"z {name}" in drawn else {}
    for label, z in (own or {name: drawn["z"]}).items():
        rows[label] = vae.decode_all(z[: len(mu[name]), : vae.latent_dim])
draw("samples", rows)
ends = data("interpolations")
draw(
    "interpolation",
    {name: vae.decode_all(interpolate(*ends[f"mu {name} 0"], STEPS)) for name, vae in models.items()},
)
first, last = next(iter(models)), list(models)[-1]  # the plain VAE and the DFC-VAE
if walks := data("attribute-walks"):
    attributes = [key.removesuffix(f" {last}") for key in walks if key.endswith(f" {last}")]
    rows = {
        f"{of}\n{name}": models[name].decode_all(walks[f"{of} {name}"]) for of in attributes for name in (first, last)
    }
    draw("attribute-walks", rows, [f"{strength:+g}" for strength in STRENGTHS])
