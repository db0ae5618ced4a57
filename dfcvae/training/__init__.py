"""Training: the step, what happens beside it, and the run folder."""

from dfcvae.training.attributes import AttributeNetwork, attribute_scores, scores_table, train_features
from dfcvae.training.build import build_objective, build_perceptual, build_vae
from dfcvae.training.module import VAETraining
from dfcvae.training.run import Run, train

__all__ = [
    "AttributeNetwork",
    "Run",
    "VAETraining",
    "attribute_scores",
    "build_objective",
    "build_perceptual",
    "build_vae",
    "scores_table",
    "train",
    "train_features",
]
