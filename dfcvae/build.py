"""Build the model and its objective from a configuration."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dfcvae.config import Experiment, FeatureConfig, LossConfig
from dfcvae.device import CPU
from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float
from dfcvae.losses import (
    PRESETS,
    GaussianLikelihood,
    ImageLoss,
    Objective,
    PerceptualLoss,
    count_numbers,
    measure_scales,
    perceptual,
)
from dfcvae.losses.objective import OwnTerms
from dfcvae.losses.presets import check_name
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

SCALE_IMAGES = 2_048  # enough for the variance to about one percent


def build_vae(experiment: Experiment) -> VAE:
    """The VAE of an experiment, with the initial weights of its seed."""
    torch.manual_seed(seeded_generator(experiment.training.seed, Stream.WEIGHTS).initial_seed())
    data, model = experiment.data, experiment.model
    return VAE(model.network, data.size, data.channels, model.latent_dim)


def build_perceptual(config: FeatureConfig | None) -> ImageLoss | None:
    """The feature terms of a configuration: a preset with overrides; None for a plain VAE.

    Raises:
        UserError: for an unknown preset, settings that it does not have, or weights of another network.
    """
    if config is None:
        return None
    check_name(config.preset)
    changes = _changes(config)
    if config.preset not in PRESETS:
        if changes:
            raise UserError(
                f"loss.features: the loss {config.preset} has no {' or '.join(changes)}; remove that setting."
            )
        return perceptual(config.preset, None if config.weights == "imagenet" else config.weights)
    preset = replace(PRESETS[config.preset], **changes)
    loss = perceptual(preset, config.weights)
    assert isinstance(loss, PerceptualLoss)
    if config.arch and loss.features.arch != config.arch:
        raise UserError(
            f"{config.weights} contains {loss.features.arch}, but arch is {config.arch}; change one of them."
        )
    return loss


def _changes(config: FeatureConfig) -> dict[str, Any]:
    """The fields of a `Preset` that a configuration overrides."""
    same = ("arch", "layers", "distance", "reduction", "pooling")
    parts = {name: getattr(config, name) for name in same} | {"weights": config.layer_weights}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in parts.items() if value is not None
    }


def build_objective(
    loss: LossConfig,
    perceptual: ImageLoss | None,
    images: Tensor,
    scales: dict[str, float] | None = None,
    device: torch.device = CPU,
    terms: OwnTerms | None = None,
) -> Objective:
    """The objective, with scales measured on training images uint8 (n, C, H, W) if it needs them and none are given.

    ``terms`` are the user's own, see `Objective`.

    Raises:
        UserError: if ``scale: likelihood`` is combined with a distance other than the mean square.
    """
    likelihood = None
    if loss.scale == "none":
        scales = None
    else:
        if loss.scale == "likelihood" and perceptual is not None:
            _check_likelihood(perceptual)
        perceptual = perceptual.to(device) if perceptual else None
        chosen = images[:: max(1, len(images) // SCALE_IMAGES)]
        scales = scales or measure_scales(lambda: (to_float(x.to(device)) for x in chosen.split(64)), perceptual)
        if loss.scale == "likelihood":
            numbers = count_numbers(to_float(images[:1].to(device)), perceptual)
            likelihood = GaussianLikelihood(numbers, scales)
    return Objective(loss.alpha, loss.beta, loss.pixel_weight, perceptual, scales, likelihood, terms)


def use_bfloat16_features(objective: Objective) -> None:
    """Convert the frozen networks to bfloat16 once, instead of casting their weights in every step."""
    for module in objective.modules():
        if isinstance(module, VGGFeatures):
            module.bfloat16()


def _check_likelihood(perceptual: ImageLoss) -> None:
    if not isinstance(perceptual, PerceptualLoss) or (perceptual.distance, perceptual.reduction) != ("squared", "mean"):
        raise UserError(
            "scale: likelihood requires mean squared distances; choose features with distance "
            "squared and reduction mean, such as the preset dfc, or scale: variance."
        )
