"""From a configuration to the model and its objective."""

import torch
from torch import Tensor

from dfcvae.config import Experiment, LossConfig
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float
from dfcvae.losses import Objective, PerceptualLoss, measure_variances
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

CPU = torch.device("cpu")
VARIANCE_IMAGES = 2_048  # enough for the variance to about one percent


def build_vae(experiment: Experiment) -> VAE:
    """The VAE of an experiment, with the initial weights of its seed."""
    torch.manual_seed(seeded_generator(experiment.training.seed, Stream.WEIGHTS).initial_seed())
    data, model = experiment.data, experiment.model
    return VAE(model.network, data.size, data.channels, model.latent_dim)


def build_perceptual(loss: LossConfig) -> PerceptualLoss | None:
    """The feature terms of a loss configuration; None for a plain VAE."""
    if loss.features is None:
        return None
    config = loss.features
    features = VGGFeatures(config.arch, config.layers, config.weights, config.pooling)
    return PerceptualLoss(features, config.layer_weights)


def build_objective(
    loss: LossConfig,
    perceptual: PerceptualLoss | None,
    images: Tensor,
    variances: dict[str, float] | None = None,
    device: torch.device = CPU,
) -> Objective:
    """The objective, with variances measured on training images uint8 (n, C, H, W) if it needs them and none come."""
    if variances is None and loss.scale == "variance":
        chosen = images[:: max(1, len(images) // VARIANCE_IMAGES)]
        network = perceptual.features.to(device) if perceptual else None
        variances = measure_variances(
            (to_float(chosen[i : i + 64].to(device)) for i in range(0, len(chosen), 64)), network
        )
    return Objective(loss.alpha, loss.beta, loss.pixel_weight, perceptual, variances)
