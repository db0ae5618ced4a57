"""Losses: every term is computed per image, shape (N,), and not averaged over the batch."""

from dfcvae.losses.base import ImageLoss
from dfcvae.losses.lpips import LPIPS
from dfcvae.losses.objective import GaussianLikelihood, Objective
from dfcvae.losses.perceptual import PerceptualLoss, gram_matrix
from dfcvae.losses.pixel import SSIMLoss, mean_squared_error
from dfcvae.losses.presets import NAMES, PRESETS, Preset, perceptual
from dfcvae.losses.scale import accounting_table, beta_eff, count_numbers, measure_scales

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
