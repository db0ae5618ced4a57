"""The models that the paper compares, as experiments that differ in the loss and in nothing else."""

from dataclasses import replace

from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig, ModelConfig, TrainingConfig

# Every loss weighs its reconstruction terms by one in all, and each term is divided by the variance of its target, so
# that one alpha means the same for all four. The paper's models have no pixel term; that of the popular code has.
VARIANTS = {
    "plain": LossConfig(),
    "vae-123": LossConfig(pixel_weight=0, features=FeatureConfig("vae-123", layer_weights=1 / 3, reduction="mean")),
    "vae-345": LossConfig(pixel_weight=0, features=FeatureConfig("vae-345", layer_weights=1 / 3, reduction="mean")),
    "dfc": LossConfig(pixel_weight=0.5, features=FeatureConfig("dfc", layer_weights=0.125)),
}
PLAIN, DFC = "plain", "dfc"  # the baseline, and the model of this project's name
TITLES = {
    "plain": "plain VAE",
    "vae-123": "VAE-123",
    "vae-345": "VAE-345",
    "dfc": "DFC-VAE 14/24/34/43",
}


def variant(name: str, data: DataConfig, weights: str, epochs: int, seed: int) -> Experiment:
    """One model of the comparison.

    Args:
        name: one of `VARIANTS`.
        data: the faces.
        weights: of the feature network: ``"imagenet"``, or a file of ``dfcvae features train``.
        epochs: passes over the training images, the same for all.
        seed: of initial weights, order of the images, flips and noise; models of the same seed share them all.
    """
    loss = VARIANTS[name]
    if loss.features is not None:
        loss = replace(loss, features=replace(loss.features, weights=weights))
    training = TrainingConfig(epochs, precision="auto", seed=seed)
    return Experiment(name, data, ModelConfig(), loss, training)
