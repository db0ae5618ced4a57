"""Losses: every term is computed per image, shape (N,), and never averaged over the batch here."""

from dfcvae.losses.accounting import accounting_table, beta_eff
from dfcvae.losses.base import ImageLoss
from dfcvae.losses.likelihood import GaussianLikelihood
from dfcvae.losses.lpips import LPIPS
from dfcvae.losses.objective import Objective
from dfcvae.losses.perceptual import PerceptualLoss, gram_matrix
from dfcvae.losses.pixel import mean_squared_error
from dfcvae.losses.presets import NAMES, PRESETS, Preset, perceptual
from dfcvae.losses.scale import count_numbers, measure_scales
from dfcvae.losses.ssim import SSIMLoss

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
