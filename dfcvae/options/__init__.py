"""The commands, and the arguments of each. Free of torch, so that help is quick."""

from collections.abc import Callable

from dfcvae.options import evaluating, latent, models, training
from dfcvae.parsing import Parser

COMMANDS: dict[str, tuple[str, Callable[[Parser], None]]] = {
    "demo": ("train a plain VAE and a DFC-VAE on synthetic faces and write a report", training.demo),
    "train": ("train an experiment", training.train),
    "sample": ("draw faces from a prior", models.sample),
    "reconstruct": ("show originals beside reconstructions", models.reconstruct),
    "interpolate": ("show the way from face to face", latent.interpolate),
    "traverse": ("show what single latent dimensions do", latent.traverse),
    "attributes": ("fit the vectors of attributes and show how they hang together", latent.attributes),
    "edit": ("change attributes of faces", latent.edit),
    "map": ("lay faces out in the plane by their latents", latent.map),
    "neighbours": ("show the training faces nearest to samples", latent.neighbours),
    "explore": ("look at a model and play with it in the browser", models.explore),
    "evaluate": ("measure a model on the test split", evaluating.evaluate),
    "ablate": ("train variations of an experiment at equal budget, and compare them", evaluating.ablate),
    "compare": ("write a report on several models side by side", evaluating.compare),
    "paper": ("train the models of the paper, and write its results section", evaluating.paper),
    "probe": ("measure what linear classifiers read of attributes in the latents", evaluating.probe),
    "export": ("write a model as safetensors, JSON and a model card", models.export),
    "features": ("list the layers of feature networks, and train them", training.features),
    "data": ("look at data sets and prepare them", training.data),
    "bench": ("measure what a training step costs, beside the popular implementations'", training.bench),
}
