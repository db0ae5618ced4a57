"""Losses: every term is computed per image, shape (N,), and not averaged over the batch."""

from dfcvae.losses.base import ImageLoss, mean_squared_error
from dfcvae.losses.objective import (
    GaussianLikelihood,
    Objective,
    accounting_table,
    beta_eff,
    count_numbers,
    measure_scales,
)
from dfcvae.losses.perceptual import PerceptualLoss, gram_matrix
from dfcvae.losses.presets import LPIPS, NAMES, PRESETS, Preset, SSIMLoss, perceptual

__all__ = [
    "LPIPS",
    "NAMES",
    "PRESETS",
    "GaussianLikelihood",
    "ImageLoss",
    "Objective",
    "PerceptualLoss",
    "Preset",
    "SSIMLoss",
    "accounting_table",
    "beta_eff",
    "count_numbers",
    "gram_matrix",
    "mean_squared_error",
    "measure_scales",
    "perceptual",
]
