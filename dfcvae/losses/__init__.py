"""Losses: every term is computed per image, shape (N,), and never averaged over the batch here."""

from dfcvae.losses.accounting import accounting_table, beta_eff
from dfcvae.losses.objective import Objective
from dfcvae.losses.perceptual import PerceptualLoss
from dfcvae.losses.pixel import mean_squared_error
from dfcvae.losses.scale import measure_variances

__all__ = ["Objective", "PerceptualLoss", "accounting_table", "beta_eff", "mean_squared_error", "measure_variances"]
