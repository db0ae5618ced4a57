"""Build the batches, the model and its objective from a configuration."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfcvae import losses
from dfcvae.config import Experiment, FeatureConfig, LossConfig
from dfcvae.data import OWN, SYNTHETIC, Faces, Splits, TrainingBatches
from dfcvae.device import CPU, MEMORY_FRACTION, free_memory, process_rank
from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float
from dfcvae.losses import ImageLoss, Objective, PerceptualLoss
from dfcvae.losses.objective import OwnTerms
from dfcvae.losses.presets import check_name
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

SCALE_IMAGES = 2_048  # enough for the variance to about one percent


def naming_its_faces(experiment: Experiment, data: Any, splits: Splits) -> Experiment:
    """The experiment with the source of the faces that it is trained on."""
    source = experiment.data.source
    loaded = isinstance(data, Mapping) and all(isinstance(part, Faces) for part in data.values())  # by `load_faces`
    if isinstance(data, str | Path):
        source = str(data)
    elif not loaded or (source == SYNTHETIC and splits["train"].fingerprint != SYNTHETIC):
        source = OWN
    return replace(experiment, data=replace(experiment.data, source=source))


def build_batches(experiment: Experiment, faces: Faces, device: torch.device) -> TrainingBatches:
    """Batches of the training split, which is moved to a GPU that has room for it."""
    config = experiment.training
    if device.type == "cuda" and faces.images.numel() < MEMORY_FRACTION * free_memory(device):
        faces = faces.to(device)
    return TrainingBatches(
        faces,
        config.batch_size,
        config.seed,
        experiment.data.flip,
        config.micro_batches,
        process_rank(),
        config.devices,
    )


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
    parts = {name: getattr(config, name) for name in ("arch", "layers", "distance", "reduction", "pooling")}
    changed = {name: value for name, value in (parts | {"weights": config.layer_weights}).items() if value is not None}
    changes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in changed.items()}
    if config.preset not in losses.PRESETS:
        if changes:
            raise UserError(
                f"loss.features: the loss {config.preset} has no {' or '.join(changes)}; remove that setting."
            )
        return losses.perceptual(config.preset, None if config.weights == "imagenet" else config.weights)
    preset = replace(losses.PRESETS[config.preset], **changes)
    loss = losses.perceptual(preset, config.weights)
    assert isinstance(loss, PerceptualLoss)
    if config.arch and loss.features.arch != config.arch:
        raise UserError(
            f"{config.weights} contains {loss.features.arch}, but arch is {config.arch}; change one of them."
        )
    return loss


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
        squared = isinstance(perceptual, PerceptualLoss) and perceptual.distance == "squared"
        if loss.scale == "likelihood" and perceptual and not (squared and perceptual.reduction == "mean"):
            raise UserError(
                "scale: likelihood requires mean squared distances; choose features with distance "
                "squared and reduction mean, such as the preset dfc, or scale: variance."
            )
        perceptual = perceptual.to(device) if perceptual else None
        chosen = images[:: max(1, len(images) // SCALE_IMAGES)]
        scales = scales or losses.measure_scales(lambda: (to_float(x.to(device)) for x in chosen.split(64)), perceptual)
        if loss.scale == "likelihood":
            numbers = losses.count_numbers(to_float(images[:1].to(device)), perceptual)
            likelihood = losses.GaussianLikelihood(numbers, scales)
    return Objective(loss.alpha, loss.beta, loss.pixel_weight, perceptual, scales, likelihood, terms)


def use_bfloat16_features(objective: Objective) -> None:
    """Convert the frozen networks to bfloat16 once, instead of casting their weights in every step."""
    for module in objective.modules():
        if isinstance(module, VGGFeatures):
            module.bfloat16()
